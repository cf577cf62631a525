package export

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Writer writes a journal to a file.
type Writer struct {
	out  *bufio.Writer
	sum  hash.Hash
	n    uint64
	line []byte
}

// NewWriter writes the header. It sets Format and Version; the caller sets the other members.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	d := &Writer{out: bufio.NewWriterSize(w, 1<<18), sum: sha256.New()}
	h.Format, h.Version = format, Version
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return d, d.put(append(text, '\n'))
}

// Event writes the next event.
func (d *Writer) Event(m *history.Message) error {
	b := append(d.line[:0], `{"partition":`...)
	b = strconv.AppendInt(b, int64(m.Partition), 10)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, m.Revision, 10)
	b = append(events.AppendString(append(b, ','), "subject", subjectRoot+string(m.Name)), ',')
	if isJSONLine(m.Body) {
		b = append(append(b, `"event":`...), m.Body...)
	} else {
		b = base64.StdEncoding.AppendEncode(append(b, `"body":"`...), m.Body)
		b = append(b, '"')
	}
	d.line = append(b, "}\n"...)
	d.n++
	return d.put(d.line)
}

// isJSONLine reports whether a reader of JSON lines gets exactly these bytes back.
func isJSONLine(body []byte) bool {
	return len(body) > 0 && body[0] == '{' && body[len(body)-1] == '}' && !bytes.ContainsAny(body, "\n\r") && jsontext.Value(body).IsValid()
}

// Close writes the trailer and flushes. The file is complete when it returns nil.
func (d *Writer) Close() error {
	if _, err := fmt.Fprintf(d.out, `{"events":%d,"sha256":"%s"}`+"\n", d.n, sumOf(d.sum)); err != nil {
		return err
	}
	return d.out.Flush()
}

// Events returns the number of events written.
func (d *Writer) Events() uint64 { return d.n }

func (d *Writer) put(text []byte) error {
	d.sum.Write(text)
	_, err := d.out.Write(text)
	return err
}
