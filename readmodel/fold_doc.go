package readmodel

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
)

// DocChange is what a batch makes of one document: its last state, or its end.
type DocChange struct {
	Doc
	Deleted bool
	Evicted []string // of an agent's expiry: the keys it took out of the hot tier
	All     bool     // of an agent's expiry: there were more than it names
}

// docKind tells which documents an event changes; empty = none.
func docKind(typ string) string {
	switch typ {
	case events.ConfigSet, events.ConfigUnset:
		return KindConfig
	case events.HydrationStarted, events.Hydrated, events.HydrationFailed, events.FlushStarted,
		events.Flushed, events.FlushFailed, events.Expired, events.Retired, events.Forked:
		return KindLifecycle
	}
	switch {
	case strings.HasPrefix(typ, "task."):
		return KindTask
	case strings.HasPrefix(typ, "session."):
		return KindSession
	}
	return ""
}

// DocOf is the document that an event results in; ok is false when the event
// is of no document.
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
