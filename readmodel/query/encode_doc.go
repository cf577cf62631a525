package query

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// page is one page of a list.
type page struct {
	rows        []byte // encoded, not closed: `{"tasks":[{…},{…}`
	more        []byte // further members, each after a comma
	source      string
	cursor      string // of the next page; empty = the last page
	token       string
	quarantined []string // quarantined streams whose rows the page may lack
}

// encode closes the page and returns the reply body.
func (p *page) encode() []byte {
	b := append(append(p.rows, ']'), p.more...)
	if p.cursor != "" {
		b = append(b, ',')
		b = events.AppendString(b, "cursor", p.cursor)
	}
	for i, s := range p.quarantined {
		if i == 0 {
			b = append(b, `,"quarantined":[`...)
		} else {
			b = append(b, ',')
		}
		b, _ = jsontext.AppendQuote(b, s) // the error only reports replaced bytes
	}
	if len(p.quarantined) > 0 {
		b = append(b, ']')
	}
	return closeAnswer(b, p.source, p.token)
}

// closeAnswer appends source and token, which end every answer.
func closeAnswer(b []byte, source, token string) []byte {
	b = append(b, ',')
	b = events.AppendString(b, "source", source)
	if token != "" {
		b = append(b, ',')
		b = events.AppendString(b, "token", token)
	}
	return append(b, '}')
}

// paginate cuts rows, which were read with one more than the limit, into a page, and returns the
// cursor of the next page, empty when there is none. row returns a row's cursor and the size of
// its values.
func paginate[R any](rows []R, limit int, row func(*R) (cursor string, bytes int)) ([]R, string) {
	var room readmodel.PageRoom
	for i := range rows {
		_, bytes := row(&rows[i])
		if full := room.Add(bytes); i > 0 && (i == limit || full) {
			cursor, _ := row(&rows[i-1])
			return rows[:i], cursor
		}
	}
	return rows, ""
}

// encodeRows encodes a page of rows without closing it; members appends the members of a row.
func encodeRows[R any](name string, size int, rows []R, members func([]byte, *R) []byte) []byte {
	b := append(make([]byte, 0, 256+size*len(rows)), `{"`+name+`":[`...)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(members(append(b, '{'), &rows[i]), '}')
	}
	return b
}

func encodeDocs(name string, rows []readmodel.Doc) []byte {
	return encodeRows(name, 384, rows, func(b []byte, d *readmodel.Doc) []byte { return d.Append(b) })
}

// encodeDoc encodes a document as a reply body.
func encodeDoc(d *readmodel.Doc, token string) []byte {
	b := d.Append(append(make([]byte, 0, 288+len(d.State)), '{'))
	return closeAnswer(b, tiers.FromJournal, token)
}

// encodeDocHistory encodes a page of a document's history; d names the document.
func encodeDocHistory(d *readmodel.Doc, rows []readmodel.DocVersion, cursor, token string) []byte {
	p := page{source: tiers.FromJournal, cursor: cursor, token: token}
	p.rows = encodeRows("versions", 512, rows, func(b []byte, v *readmodel.DocVersion) []byte { return v.Append(b) })
	b := append(make([]byte, 0, 256+len(p.rows)), '{')
	b = events.AppendString(b, d.IDName(), d.ID)
	if d.Key != "" {
		b = append(b, ',')
		b = events.AppendString(b, "key", d.Key)
	}
	p.rows = append(append(b, ','), p.rows[1:]...)
	return p.encode()
}
