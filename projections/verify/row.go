package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sort"
	"time"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// Row is one row of a tier as Verify reads it.
type Row struct {
	Kind, Name string // the name is unique in its kind: "<id>" or "<id>.<key>"
	Version    uint64
	Revision   uint64
	Digest     string
	Content    []byte // what the event made of it; without a meaning but to be equal
	Stored     []byte // set where the tier keeps a document whole, in the form of its bucket
	Bad        error  // the row contradicts itself
}

// EntryRow is a state entry's row.
func EntryRow(e *readmodel.Entry) Row {
	return Row{
		Kind: readmodel.KindEntry, Name: e.Agent + "." + e.Key, Version: e.Version, Revision: e.Revision, Digest: e.Digest,
		Content: timed(e.Timestamp, e.Value),
	}
}

// DocRow is a document's row.
func DocRow(d *readmodel.Doc) Row {
	r := Row{
		Kind: d.Kind, Name: d.ID, Version: d.Version, Revision: d.Revision, Digest: d.Digest,
		Content: timed(d.UpdatedAt.Truncate(time.Microsecond), d.State), // what timestamptz keeps
	}
	if d.Key != "" {
		r.Name += "." + d.Key
	}
	return r
}

// LossRow is one losing write's row; those of one entry have one name.
func LossRow(l *readmodel.Loss) Row {
	content := fmt.Appendf(nil, "%q %q %q %q %q %q %d %d %d ", l.Kind, l.Verb, l.Strategy, l.Reason, l.Writer, l.CommandID,
		l.CurrentVersion, l.CurrentRevision, l.RecordedAt.UnixMicro())
	return Row{
		Kind: readmodel.KindConflict, Name: l.Agent + "." + l.Key, Version: l.Version, Revision: l.Revision, Digest: l.Digest,
		Content: append(content, timed(l.Timestamp.Truncate(time.Microsecond), l.Value)...),
	}
}

func timed(t time.Time, value []byte) []byte {
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

func sumOf(parts ...[]byte) (s sum) {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	copy(s[:], h.Sum(nil))
	return s
}

func (s sum) short() []byte { return s[:6] }

// mark is a row, condensed.
type mark struct {
	revision, version uint64
	digest            string
	content, stored   sum
	whole             bool // stored is all that is known of the content
	deleted           bool
	recorded          time.Time
	bad               error
}

func markOf(r *Row) mark {
	m := mark{revision: r.Revision, version: r.Version, digest: r.Digest, bad: r.Bad}
	if r.Stored != nil {
		m.stored, m.whole = sumOf(r.Stored), true
	} else {
		m.content = sumOf(r.Content)
	}
	return m
}

// after is the mark of all losing writes of an entry, when r follows m.
func (m mark) after(r *Row) mark {
	next := markOf(r)
	next.version = m.version + 1 // how many there are
	next.content = sumOf(m.content[:], []byte(r.Digest), r.Content)
	return next
}

func (m mark) equal(o mark) bool {
	same := m.content == o.content
	if m.whole || o.whole {
		same = m.stored == o.stored
	}
	return same && m.revision == o.revision && m.version == o.version && m.digest == o.digest
}

// as is m with the content in the form that o has, to be shown beside it.
func (m mark) as(o mark) mark {
	m.whole = o.whole
	return m
}

func (m mark) String() string {
	if m.deleted {
		return fmt.Sprintf("deleted at version %d, revision %d", m.version, m.revision)
	}
	value := m.content
	if m.whole {
		value = m.stored
	}
	return fmt.Sprintf("version %d, revision %d, digest %.12s, value %x", m.version, m.revision, m.digest, value[:6])
}

// living counts rows by kind.
func living(rows map[rowKey]mark) map[string]int {
	n := map[string]int{}
	for key, m := range rows {
		if !m.deleted {
			n[key.kind]++
		}
	}
	return n
}

// digestOf is one digest over living state entries in the order of their keys.
func digestOf(rows map[rowKey]mark) string {
	var names []string
	for key, m := range rows {
		if key.kind == readmodel.KindEntry && !m.deleted {
			names = append(names, key.name)
		}
	}
	sort.Strings(names)
	h := sha256.New()
	for _, name := range names {
		m := rows[rowKey{readmodel.KindEntry, name}]
		fmt.Fprintf(h, "%s %d %d %s %x\n", name, m.version, m.revision, m.digest, m.content)
	}
	return hex.EncodeToString(h.Sum(nil))
}
