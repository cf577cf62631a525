package projections

import (
	"sort"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Changes is the fold of a batch: each row once, as it is after the batch, sorted by key so that
// two batches never lock rows in opposite orders.
type Changes struct {
	Entries []readmodel.EntryChange
	Docs    []readmodel.DocChange
	Losses  []readmodel.Loss
	Events  []*events.Record  // all folded events in order, for views that need each; parts of the batch
	Poison  []history.Message // events that cannot be folded, each with its reason in Bad
	// Quarantined are the quarantined events of the batch, each with its reason in Bad: a target must not
	// keep serving the rows before them. Released are the aggregates, up to a revision, that left
	// the quarantine.
	Quarantined []history.Message
	Released    []quarantine.Released

	Messages []history.Message // set by FoldNothing and FoldMessages: all messages of the journal, in order
}

// Fold folds a batch of one partition. Any split of the same events into batches results in the
// same rows.
func Fold(batch []history.Message) Changes {
	c := Changes{Events: make([]*events.Record, 0, len(batch))}
	last := make(map[events.AggregateName]int, len(batch))
	for i := range batch {
		m := &batch[i]
		if m.Bad == nil {
			m.Bad = c.add(m, last)
		}
		if m.Bad != nil {
			c.Poison = append(c.Poison, *m)
			continue
		}
		c.Events = append(c.Events, &m.Record)
	}
	sort.Slice(c.Entries, func(i, j int) bool {
		a, b := &c.Entries[i], &c.Entries[j]
		if a.Agent != b.Agent {
			return a.Agent < b.Agent
		}
		return a.Key < b.Key
	})
	sort.Slice(c.Docs, func(i, j int) bool {
		a, b := &c.Docs[i], &c.Docs[j]
		if a.Kind != b.Kind {
			return a.Kind < b.Kind
		}
		if a.ID != b.ID {
			return a.ID < b.ID
		}
		return a.Key < b.Key
	})
	return c
}

func (c *Changes) add(m *history.Message, last map[events.AggregateName]int) error {
	switch m.Type {
	case events.StateSet, events.StateDeleted:
		change, err := readmodel.EntryOf(&m.Record)
		if err != nil {
			return err
		}
		if i, ok := last[m.Name]; ok {
			c.Entries[i] = change
			return nil
		}
		last[m.Name] = len(c.Entries)
		c.Entries = append(c.Entries, change)
	case events.StateSuperseded, events.StateRejected:
		if m.Erased { // nothing is left of it to list
			return nil
		}
		loss, err := readmodel.LossOf(&m.Record)
		if err != nil {
			return err
		}
		c.Losses = append(c.Losses, loss)
	default:
		change, ok, err := readmodel.DocOf(&m.Record)
		if !ok || err != nil {
			return err
		}
		if i, known := last[m.Name]; known {
			c.Docs[i] = change
			return nil
		}
		last[m.Name] = len(c.Docs)
		c.Docs = append(c.Docs, change)
	}
	return nil
}

// DigestAt returns the digest of the batch's last event, which must be at the revision; empty when
// that event could not be folded.
func (c *Changes) DigestAt(revision uint64) string {
	if n := len(c.Events); n > 0 && c.Events[n-1].Revision == revision {
		return c.Events[n-1].Digest
	}
	if n := len(c.Messages); n > 0 && c.Messages[n-1].Revision == revision && c.Messages[n-1].Bad == nil {
		return c.Messages[n-1].Digest
	}
	return ""
}

// FoldNothing is the fold of a view that stores every message unchanged, also those that this build
// cannot read: it folds nothing and reports no poison.
func FoldNothing(batch []history.Message) Changes { return Changes{Messages: batch} }

// FoldMessages is the fold of the views of messages between agents. Its events are those that
// send messages and those of erasures.
func FoldMessages(batch []history.Message) Changes {
	c := FoldNothing(batch)
	for i := range batch {
		switch m := &batch[i]; {
		case m.Name != events.Sent(m.Name.ID()) && m.Type != events.Erased:
		case m.Bad != nil:
			c.Poison = append(c.Poison, *m)
		default:
			c.Events = append(c.Events, &m.Record)
		}
	}
	return c
}
