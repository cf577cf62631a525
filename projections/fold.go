package projections

import (
	"fmt"
	"sort"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// EntryChange is what a batch makes of one state entry: its last row, or its
// end.
type EntryChange struct {
	readmodel.Entry
	Deleted bool
}

// Changes is the fold of a batch: each entry once, as it is after the batch,
// in the order of its key, so that two batches never lock rows crosswise.
type Changes struct {
	Entries []EntryChange
	Docs    []DocChange
	Losses  []readmodel.Loss
	Events  []*events.Record // all that could be folded, in order, for views that need each: parts of the batch
	Poison  []Message        // what could not be folded, each with its reason in Bad
	// Held are the entries that the view leaves out, each with its reason in
	// Bad: a target must not go on showing what was before them. Released is
	// what it holds no longer.
	Held     []Message
	Released []Released

	Messages []Message // of Whole alone: all of them, in order
}

// Fold folds a batch of one partition. Any split of the same events into
// batches ends in the same rows.
func Fold(batch []Message) Changes {
	c := Changes{Events: make([]*events.Record, 0, len(batch))}
	last := make(map[events.Stream]int, len(batch))
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

func (c *Changes) add(m *Message, last map[events.Stream]int) error {
	switch m.Type {
	case events.StateSet, events.StateDeleted:
		change, err := EntryOf(&m.Record)
		if err != nil {
			return err
		}
		if i, ok := last[m.Stream]; ok {
			c.Entries[i] = change
			return nil
		}
		last[m.Stream] = len(c.Entries)
		c.Entries = append(c.Entries, change)
	case events.StateSuperseded, events.StateRejected:
		loss, err := LossOf(&m.Record)
		if err != nil {
			return err
		}
		c.Losses = append(c.Losses, loss)
	default:
		change, ok, err := DocOf(&m.Record)
		if !ok || err != nil {
			return err
		}
		if i, known := last[m.Stream]; known {
			c.Docs[i] = change
			return nil
		}
		last[m.Stream] = len(c.Docs)
		c.Docs = append(c.Docs, change)
	}
	return nil
}

// DigestAt is the digest of the event at a revision, which is the batch's last;
// empty where that could not be folded.
func (c *Changes) DigestAt(revision uint64) string {
	if n := len(c.Events); n > 0 && c.Events[n-1].Revision == revision {
		return c.Events[n-1].Digest
	}
	if n := len(c.Messages); n > 0 && c.Messages[n-1].Revision == revision && c.Messages[n-1].Bad == nil {
		return c.Messages[n-1].Digest
	}
	return ""
}

// EntryOf is the row that an event of a state entry results in.
func EntryOf(rec *events.Record) (EntryChange, error) {
	d, err := events.DecodeStateWrite(rec.Data)
	if err != nil {
		return EntryChange{}, err
	}
	deleted := rec.Type == events.StateDeleted
	if !deleted && len(d.Value) == 0 {
		return EntryChange{}, fmt.Errorf("%s without a value", rec.Type)
	}
	return EntryChange{Deleted: deleted, Entry: readmodel.Entry{
		Agent: rec.ID, Key: rec.Key, Value: d.Value, Timestamp: rec.Timestamp, Writer: rec.Writer,
		Version: rec.Version, Revision: rec.Revision, UpdatedAt: rec.RecordedAt, Digest: rec.Digest,
	}}, nil
}

// LossOf is the row of a losing write.
func LossOf(rec *events.Record) (readmodel.Loss, error) {
	d, err := events.DecodeStateLoss(rec.Data)
	if err != nil {
		return readmodel.Loss{}, err
	}
	kind := "superseded"
	if rec.Type == events.StateRejected {
		kind = "rejected"
	}
	return readmodel.Loss{
		Agent: rec.ID, Key: rec.Key, Version: rec.Version, Revision: rec.Revision,
		Kind: kind, Verb: d.Verb, Strategy: d.Strategy, Reason: d.Reason, Value: d.Value,
		Timestamp: rec.Timestamp, RecordedAt: rec.RecordedAt, Writer: rec.Writer, CommandID: rec.CommandID,
		CurrentVersion: d.CurrentVersion, CurrentRevision: d.CurrentRevision, Digest: rec.Digest,
	}, nil
}
