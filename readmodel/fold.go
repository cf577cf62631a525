package readmodel

import (
	"fmt"

	"github.com/tidemark-engine/tidemark/events"
)

// EntryChange is the effect of a batch on one state entry: its last row, or its deletion.
type EntryChange struct {
	Entry
	Deleted bool
	Erased  bool // deleted because the agent was erased: its earlier value is not published
}

// EntryOf returns the row that an event of a state entry results in.
func EntryOf(rec *events.Record) (EntryChange, error) {
	d, err := events.DecodeStateWrite(rec.Data)
	if err != nil {
		return EntryChange{}, err
	}
	deleted := rec.Type == events.StateDeleted
	if !deleted && len(d.Value) == 0 {
		return EntryChange{}, fmt.Errorf("%s without a value", rec.Type)
	}
	return EntryChange{Deleted: deleted, Erased: rec.Erased || d.Erased, Entry: Entry{
		Agent: rec.ID, Key: rec.Key, Value: d.Value, Timestamp: rec.Timestamp, Writer: rec.Writer,
		Version: rec.Version, Revision: rec.Revision, UpdatedAt: rec.RecordedAt, Digest: rec.Digest,
	}}, nil
}

// LossOf returns the row of a losing write.
func LossOf(rec *events.Record) (Loss, error) {
	d, err := events.DecodeStateLoss(rec.Data)
	if err != nil {
		return Loss{}, err
	}
	kind := "superseded"
	if rec.Type == events.StateRejected {
		kind = "rejected"
	}
	return Loss{
		Agent: rec.ID, Key: rec.Key, Version: rec.Version, Revision: rec.Revision,
		Kind: kind, Verb: d.Verb, Strategy: d.Strategy, Reason: d.Reason, Value: d.Value,
		Timestamp: rec.Timestamp, RecordedAt: rec.RecordedAt, Writer: rec.Writer, CommandID: rec.CommandID,
		CurrentVersion: d.CurrentVersion, CurrentRevision: d.Against(rec.Revision), Digest: rec.Digest,
	}, nil
}
