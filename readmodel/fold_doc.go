package readmodel

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
)

// DocChange is the effect of a batch on one document: its last state, or its deletion.
type DocChange struct {
	Doc
	Deleted bool
	Evicted []string // the keys that an expiry removed from the hot tier
	All     bool     // the expiry removed more keys than it names
}

// docKind returns the kind of documents that an event type changes; empty = none.
func docKind(typ string) string {
	switch typ {
	case events.ConfigSet, events.ConfigUnset:
		return KindConfig
	case events.MessageRead:
		return KindInbox
	case events.HydrationStarted, events.Hydrated, events.HydrationFailed, events.FlushStarted,
		events.Flushed, events.FlushFailed, events.Expired, events.Retired, events.Forked, events.Erased,
		events.RevertStarted, events.Reverted:
		return KindLifecycle
	}
	switch {
	case strings.HasPrefix(typ, "task."):
		return KindTask
	case strings.HasPrefix(typ, "session."):
		return KindSession
	case strings.HasPrefix(typ, "claim."):
		return KindClaim
	case strings.HasPrefix(typ, "reminder."):
		return KindReminder
	case strings.HasPrefix(typ, "view."):
		return KindView
	}
	return ""
}

// DocOf returns the document that an event results in; ok is false when the event belongs to no
// document.
func DocOf(rec *events.Record) (c DocChange, ok bool, err error) {
	kind := docKind(rec.Type)
	if kind == "" {
		return c, false, nil
	}
	c = DocChange{Doc: Doc{
		Kind: kind, ID: rec.ID, Key: rec.Key, State: rec.State, Timestamp: rec.Timestamp,
		Version: rec.Version, Revision: rec.Revision, UpdatedAt: rec.RecordedAt, Digest: rec.Digest,
	}}
	if kind != KindConfig {
		if len(rec.State) < 2 || rec.State[0] != '{' {
			err = fmt.Errorf("%s carries no state", rec.Type)
		}
		if rec.Type == events.Expired && err == nil {
			var d events.LifecycleChange
			err = json.Unmarshal(rec.Data, &d)
			c.Evicted, c.All = d.Keys, d.More > 0
		}
		return c, true, err
	}
	d, err := events.DecodeStateWrite(rec.Data)
	c.State, c.Deleted = d.Value, rec.Type == events.ConfigUnset
	return c, true, err
}
