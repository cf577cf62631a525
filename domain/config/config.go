// Package config decides writes to an agent's configuration entries: set and
// unset, in journal order or with an expected version.
package config

import (
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Entry is the state of one configuration entry. The zero Entry has never been
// set; an unset one keeps its version.
type Entry struct {
	Version uint64
	Exists  bool
	Value   []byte // JSON, byte for byte
}

// Evolve is the entry after one more event, which alone determines the state.
func Evolve(e Entry, ev *events.Event) (Entry, error) {
	switch ev.Type {
	case events.ConfigSet:
		d, err := events.DecodeStateWrite(ev.Data)
		return Entry{Version: ev.Version, Exists: true, Value: d.Value}, err
	case events.ConfigUnset:
		return Entry{Version: ev.Version}, nil
	}
	return e, nil
}

// Write is the command to set or unset an entry.
type Write struct {
	Agent, Key      string
	Unset           bool
	Value           []byte
	ExpectedVersion *uint64 // nil = no expectation; 0 = must not exist
	Request         string
}

// Decide decides a write: 409 state.conflict if the expected version differs, 404
// config.not_found if there is no entry to unset.
func Decide(e Entry, w Write, meta domain.Metadata) domain.Decision {
	if want := w.ExpectedVersion; want != nil && *want != e.Version && (*want != 0 || e.Exists) {
		return domain.Refuse(domain.Errorf(domain.Conflict, "state.conflict",
			"expected version %d of %s.%s, it is %d", *want, w.Agent, w.Key, e.Version).
			With("version", e.Version).With("revision", meta.Revision))
	}
	typ := events.ConfigSet
	if w.Unset {
		if !e.Exists {
			return domain.Refuse(domain.Errorf(domain.NotFound, "config.not_found", "agent %s has no configuration %s", w.Agent, w.Key))
		}
		typ = events.ConfigUnset
	}
	data := events.StateWrite{Value: w.Value, Request: w.Request}
	return domain.Decision{Outcome: domain.Accepted, Events: []events.Event{{
		Type: typ, Aggregate: "config", ID: w.Agent, Key: w.Key, Timestamp: meta.Now, Data: data.Encode(),
	}}}
}
