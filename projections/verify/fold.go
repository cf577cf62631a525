package verify

import (
	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// chainEnd is the last link of an aggregate's digest chain.
type chainEnd struct {
	version    uint64
	digest     string
	unreadable bool // the last event cannot be read: the next one cannot be judged
}

// foldEvent checks an event's link in its aggregate's chain and keeps its row; tier names the
// store that the event was read from.
func (v *Verifier) foldEvent(tier string, m *history.Message, keep func(rowKey, rowSummary)) {
	v.report.Events++
	if v.Step != nil && v.report.Events%10000 == 0 {
		v.Step(v.report.Events)
	}
	if m.Bad != nil {
		v.differ(eventDifference(tier, m), "revision %d cannot be read: %v", m.Revision, m.Bad)
		v.chains[m.Name] = chainEnd{unreadable: true}
		return
	}
	if !v.RowsOnly {
		v.checkChain(tier, m)
	}
	if m.Erased && tier == InJournal {
		if v.report.Erased == nil {
			v.report.Erased = map[string]int{}
		}
		v.report.Erased[m.KeyAgent()]++
	}
	row, deleted, err := rowOf(&m.Record)
	if err != nil {
		v.differ(eventDifference(tier, m), "revision %d: %v", m.Revision, err)
		return
	}
	key := rowKey{row.Kind, row.Name}
	switch row.Kind {
	case "": // the event has no row, or this build does not know its type
		return
	case readmodel.KindConflict:
		v.losses[key] = v.losses[key].after(&row)
		keep(key, v.losses[key])
		return
	case readmodel.KindLifecycle:
		if v.report.Heads != nil { // not in a check of one aggregate
			v.lifecycle(m)
		}
		if m.Type == events.Erased {
			v.erased[m.ID] = m.RecordedAt
		}
	}
	mk := summaryOf(&Row{Version: row.Version, Revision: row.Revision, Digest: row.Digest, Content: row.Content, to: row.to})
	mk.deleted, mk.recorded = deleted, m.RecordedAt
	if row.Stored != nil {
		mk.stored = sumOf(row.Stored)
	}
	keep(key, mk)
}

// checkChain verifies that the event follows the previous one of its aggregate.
func (v *Verifier) checkChain(tier string, m *history.Message) {
	last := v.chains[m.Name]
	digest, err := events.Chain(last.digest, &m.Event)
	switch {
	case last.unreadable:
	case err != nil:
		v.differ(eventDifference(tier, m), "revision %d: %v", m.Revision, err)
	case m.Version != last.version+1:
		v.differ(eventDifference(tier, m), "revision %d has version %d where %d follows: an event is missing", m.Revision, m.Version, last.version+1)
	case digest != m.Digest:
		v.differ(eventDifference(tier, m), "revision %d (version %d) has digest %.12s, the digest of its content and chain is %.12s: an event was changed", m.Revision, m.Version, m.Digest, digest)
	}
	v.chains[m.Name] = chainEnd{version: m.Version, digest: m.Digest}
}

// rowOf returns the row that an event results in, with both forms of a document; Kind is empty
// when there is none.
func rowOf(rec *events.Record) (r Row, deleted bool, err error) {
	switch rec.Type {
	case events.StateSet, events.StateDeleted:
		c, err := readmodel.EntryOf(rec)
		return EntryRow(&c.Entry), c.Deleted, err
	case events.StateSuperseded, events.StateRejected:
		if rec.Erased { // the views drop it
			return Row{}, false, nil
		}
		l, err := readmodel.LossOf(rec)
		return LossRow(&l), false, err
	case events.MessageSent:
		sent, ok, err := readmodel.MessageOf(rec)
		if !ok || err != nil {
			return Row{}, false, err
		}
		return MessageRow(&sent), false, nil
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

// lifecycle notes whether an agent's entries may be missing in the hot tier, which evicts those of
// an agent that expires or retires until the next hydration. An agent that was inactive after the
// heads counts as inactive for this verification.
func (v *Verifier) lifecycle(m *history.Message) {
	isActive := active(m)
	if m.Revision <= v.report.Heads[m.Partition] || !isActive {
		v.inactive[m.ID] = !isActive
	}
}

// active reports whether an agent is active after the last event of its lifecycle; true when the
// state cannot be read, so that it excuses no missing row.
func active(m *history.Message) bool {
	var s struct {
		Phase string `json:"phase"`
	}
	return json.Unmarshal(m.State, &s) != nil || s.Phase == "active" || s.Phase == "flushing"
}

func (v *Verifier) keep(key rowKey, m rowSummary)      { v.rows[key] = m }
func (v *Verifier) keepLater(key rowKey, m rowSummary) { v.later[key] = append(v.later[key], m) }
