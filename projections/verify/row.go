package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// Row is one row of a tier.
type Row struct {
	Kind, Name string // the name is unique in its kind: "<id>" or "<id>.<key>"
	Version    uint64
	Revision   uint64
	Digest     string
	Content    []byte // content of the row, compared byte for byte
	Stored     []byte // the document as its bucket stores it; set instead of Content
	Bad        error  // the row contradicts itself

	to string // the recipient of a message
}

// EntryRow is a state entry's row.
func EntryRow(e *readmodel.Entry) Row {
	return Row{
		Kind: readmodel.KindEntry, Name: e.Agent + "." + e.Key, Version: e.Version, Revision: e.Revision, Digest: e.Digest,
		Content: withTime(e.Timestamp, e.Value),
	}
}

// DocRow is a document's row.
func DocRow(d *readmodel.Doc) Row {
	r := Row{
		Kind: d.Kind, Name: d.ID, Version: d.Version, Revision: d.Revision, Digest: d.Digest,
		Content: withTime(d.UpdatedAt.Truncate(time.Microsecond), d.State), // the precision of timestamptz
	}
	if d.Key != "" {
		r.Name += "." + d.Key
	}
	return r
}

// LossRow is one losing write's row; all of one entry share a name.
func LossRow(l *readmodel.Loss) Row {
	content := fmt.Appendf(nil, "%q %q %q %q %q %q %d %d %d ", l.Kind, l.Verb, l.Strategy, l.Reason, l.Writer, l.CommandID,
		l.CurrentVersion, l.CurrentRevision, l.RecordedAt.UnixMicro())
	return Row{
		Kind: readmodel.KindConflict, Name: l.Agent + "." + l.Key, Version: l.Version, Revision: l.Revision, Digest: l.Digest,
		Content: append(content, withTime(l.Timestamp.Truncate(time.Microsecond), l.Value)...),
	}
}

// MessageRow is a message's row.
func MessageRow(m *readmodel.Message) Row {
	return Row{
		Kind: readmodel.KindMessage, Name: m.From + "." + m.ID, Revision: m.Sequence, Digest: m.Digest,
		Content: append(fmt.Appendf(nil, "%q %q %q ", m.Kind, m.To, m.Type), withTime(m.SentAt.Truncate(time.Microsecond), m.Body)...),
		to:      m.To,
	}
}

func withTime(t time.Time, value []byte) []byte {
	return append(t.UTC().AppendFormat(make([]byte, 0, 32+len(value)), time.RFC3339Nano+" "), value...)
}

type rowKey struct{ kind, name string }

func (k rowKey) String() string {
	if k.kind == readmodel.KindEntry {
		return k.name
	}
	return k.kind + " " + k.name
}

type sum [16]byte

func sumOf(content []byte) (s sum) {
	whole := sha256.Sum256(content)
	copy(s[:], whole[:])
	return s
}

func (s sum) short() []byte { return s[:6] }

// rowSummary is a row reduced to what a comparison needs.
type rowSummary struct {
	revision, version uint64
	digest            string
	content, stored   sum
	storedOnly        bool // only stored is known, not content
	deleted           bool
	recorded          time.Time
	bad               error
	to                string // the recipient of a message
}

func summaryOf(r *Row) rowSummary {
	m := rowSummary{revision: r.Revision, version: r.Version, digest: r.Digest, bad: r.Bad, to: r.to}
	if r.Stored != nil {
		m.stored, m.storedOnly = sumOf(r.Stored), true
	} else {
		m.content = sumOf(r.Content)
	}
	return m
}

// after returns the summary of an entry's losing writes, when r follows those in m.
func (m rowSummary) after(r *Row) rowSummary {
	next := summaryOf(r)
	next.version = m.version + 1 // number of losing writes
	next.content = sumOf(slices.Concat(m.content[:], []byte(r.Digest), r.Content))
	return next
}

func (m rowSummary) equal(o rowSummary) bool {
	same := m.content == o.content
	if m.storedOnly || o.storedOnly {
		same = m.stored == o.stored
	}
	return same && m.revision == o.revision && m.version == o.version && m.digest == o.digest
}

// as returns m with the content in the form of o, for messages.
func (m rowSummary) as(o rowSummary) rowSummary {
	m.storedOnly = o.storedOnly
	return m
}

func (m rowSummary) String() string {
	if m.deleted {
		return fmt.Sprintf("deleted at version %d, revision %d", m.version, m.revision)
	}
	value := m.content
	if m.storedOnly {
		value = m.stored
	}
	return fmt.Sprintf("version %d, revision %d, digest %.12s, value %x", m.version, m.revision, m.digest, value[:6])
}

// living counts rows by kind, without deleted ones.
func living(rows map[rowKey]rowSummary) map[string]int {
	n := map[string]int{}
	for key, m := range rows {
		if !m.deleted {
			n[key.kind]++
		}
	}
	return n
}

// digestOf returns one digest over the state entries, sorted by key, without deleted ones.
func digestOf(rows map[rowKey]rowSummary) string {
	var names []string
	for key, m := range rows {
		if key.kind == readmodel.KindEntry && !m.deleted {
			names = append(names, key.name)
		}
	}
	slices.Sort(names)
	h := sha256.New()
	var line []byte
	for _, name := range names {
		m := rows[rowKey{readmodel.KindEntry, name}]
		line = append(append(line[:0], name...), ' ')
		line = append(strconv.AppendUint(line, m.version, 10), ' ')
		line = append(strconv.AppendUint(line, m.revision, 10), ' ')
		line = append(append(line, m.digest...), ' ')
		line = append(hex.AppendEncode(line, m.content[:]), '\n')
		h.Write(line)
	}
	return hex.EncodeToString(h.Sum(nil))
}
