package verify

import (
	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// link is the end of an aggregate's chain of digests.
type link struct {
	version uint64
	digest  string
	torn    bool // its last event cannot be read: what follows cannot be judged
}

// event checks one event's place in its aggregate's chain and keeps its row;
// tier is where it was read.
func (v *Verifier) event(tier string, m *history.Message, keep func(rowKey, mark)) {
	v.report.Events++
	if v.Step != nil && v.report.Events%10000 == 0 {
		v.Step(v.report.Events)
	}
	if m.Bad != nil {
		v.differ(at(tier, m), "revision %d cannot be read: %v", m.Revision, m.Bad)
		v.chains[m.Stream] = link{torn: true}
		return
	}
	if !v.RowsOnly {
		v.link(tier, m)
	}
	row, deleted, err := rowOf(&m.Record)
	if err != nil {
		v.differ(at(tier, m), "revision %d: %v", m.Revision, err)
		return
	}
	key := rowKey{row.Kind, row.Name}
	switch row.Kind {
	case "": // of no row, or of a type that this build does not know
		return
	case readmodel.KindConflict:
		v.losses[key] = v.losses[key].after(&row)
		keep(key, v.losses[key])
		return
	case readmodel.KindLifecycle:
		if v.report.Heads != nil { // else this is a check of its row alone
			v.lifecycle(m)
		}
	}
	mk := markOf(&Row{Version: row.Version, Revision: row.Revision, Digest: row.Digest, Content: row.Content})
	mk.deleted, mk.recorded = deleted, m.RecordedAt
	if row.Stored != nil {
		mk.stored = sumOf(row.Stored)
	}
	keep(key, mk)
}

// link checks that the event follows the one before it in its aggregate.
func (v *Verifier) link(tier string, m *history.Message) {
	last := v.chains[m.Stream]
	digest, err := events.Chain(last.digest, &m.Event)
	switch {
	case last.torn:
	case err != nil:
		v.differ(at(tier, m), "revision %d: %v", m.Revision, err)
	case m.Version != last.version+1:
		v.differ(at(tier, m), "revision %d has version %d where %d follows: an event is missing", m.Revision, m.Version, last.version+1)
	case digest != m.Digest:
		v.differ(at(tier, m), "revision %d (version %d) has digest %.12s, its content and its past say %.12s: an event was changed", m.Revision, m.Version, m.Digest, digest)
	}
	v.chains[m.Stream] = link{version: m.Version, digest: m.Digest}
}

// rowOf is the row that an event results in, with both forms of a document;
// without a kind it results in none.
func rowOf(rec *events.Record) (r Row, deleted bool, err error) {
	switch rec.Type {
	case events.StateSet, events.StateDeleted:
		c, err := readmodel.EntryOf(rec)
		return EntryRow(&c.Entry), c.Deleted, err
	case events.StateSuperseded, events.StateRejected:
		l, err := readmodel.LossOf(rec)
		return LossRow(&l), false, err
	}
	c, ok, err := readmodel.DocOf(rec)
	if !ok || err != nil {
		return Row{}, false, err
	}
	r = DocRow(&c.Doc)
	if !c.Deleted {
		r.Stored = c.EncodeKV()
	}
	return r, c.Deleted, nil
}

// lifecycle notes whether an agent's entries may be out of the hot tier: it
// evicts those of an agent that expires or retires, until the next hydration.
// An agent once noted after the heads stays so for this verification.
func (v *Verifier) lifecycle(m *history.Message) {
	here := active(m)
	if m.Revision <= v.report.Heads[m.Partition] || !here {
		v.away[m.ID] = !here
	}
}

// active tells whether an agent is, by the end of its lifecycle; one that says
// nothing readable is, for it excuses nothing.
func active(m *history.Message) bool {
	var s struct {
		Phase string `json:"phase"`
	}
	return json.Unmarshal(m.State, &s) != nil || s.Phase == "active" || s.Phase == "flushing"
}

func (v *Verifier) keep(key rowKey, m mark)      { v.rows[key] = m }
func (v *Verifier) keepLater(key rowKey, m mark) { v.later[key] = append(v.later[key], m) }
