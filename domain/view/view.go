package view

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Status of a declared view; empty = never defined.
type Status string

const (
	Defined Status = "defined"
	Removed Status = "removed"
)

// View is the state of a declared view, which views store as it is.
type View struct {
	Status     Status     `json:"status"`
	Definition Definition `json:"definition"` // of a removed view, the last one
	SetBy      string     `json:"set_by,omitempty"`
	DefinedAt  time.Time  `json:"defined_at,omitzero"` // when it got its definition
	RemovedAt  time.Time  `json:"removed_at,omitzero"`
}

// Evolve is the view after one more event. Unknown types change nothing.
func Evolve(v View, ev *events.Event) (View, error) {
	switch ev.Type {
	case events.ViewDefined:
		var d events.ViewDefinition
		if err := json.Unmarshal(ev.Data, &d); err != nil {
			return v, err
		}
		v = View{Status: Defined, SetBy: d.SetBy, DefinedAt: ev.Timestamp}
		return v, json.Unmarshal(d.Definition, &v.Definition)
	case events.ViewRemoved:
		v.Status, v.RemovedAt = Removed, ev.Timestamp
	}
	return v, nil
}

// Command is a command on a declared view.
type Command struct {
	ID              string
	Remove          bool
	Definition      Definition
	ExpectedVersion *uint64 // nil = no expectation; 0 = must not be defined
	Request         string
}

// Decide decides a command: 409 state.conflict if the expected version differs, 409
// view.exists if the view has another definition and no version is expected, 404
// view.not_found if there is no view to remove.
func Decide(v View, c Command, meta domain.Metadata) domain.Decision {
	typ, data := events.ViewRemoved, any(events.Plain{Request: c.Request})
	switch defined := v.Status == Defined; {
	case c.Remove && v.Status == "":
		return domain.Refuse(domain.Errorf(domain.NotFound, "view.not_found", "there is no view %s", c.ID))
	case c.Remove && !defined:
		return domain.Decision{Outcome: domain.Unchanged}
	case c.Remove:
	case c.ExpectedVersion != nil && *c.ExpectedVersion != meta.Version && (*c.ExpectedVersion != 0 || defined):
		return domain.Refuse(describe(domain.Errorf(domain.Conflict, "state.conflict",
			"expected version %d of view %s, it is %d", *c.ExpectedVersion, c.ID, meta.Version), meta))
	case defined && v.Definition.Equal(c.Definition):
		return domain.Decision{Outcome: domain.Unchanged}
	case defined && c.ExpectedVersion == nil:
		return domain.Refuse(describe(domain.Errorf(domain.Conflict, "view.exists",
			"view %s has another definition, version %d; give that as expected_version to replace it", c.ID, meta.Version), meta))
	default:
		typ, data = events.ViewDefined, events.ViewDefinition{Definition: c.Definition.Canonical(), SetBy: meta.Actor, Request: c.Request}
	}
	encoded, err := domain.Encode(data)
	if err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
	}
	evs := []events.Event{{Type: typ, Aggregate: "view", ID: c.ID, Timestamp: meta.Now, Data: encoded}}
	if err := domain.CarryState(v, evs, Evolve); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", fmt.Errorf("view %s: %w", c.ID, err)))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}

func describe(err *domain.Error, meta domain.Metadata) *domain.Error {
	return err.With("version", meta.Version).With("revision", meta.Revision)
}
