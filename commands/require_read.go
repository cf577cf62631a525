package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/domain/config"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/grants"
)

// maxRequire is how many requirements one batch may have.
const maxRequire = 100

// requirement is what a batch requires of one aggregate.
type requirement struct {
	aggregate, id, key string
	name               events.AggregateName
	version            *uint64 // 0 = it must not exist
	owner              string  // of a claim that is held; empty = any
	fold               func(*events.Event) (any, error)
	// exists reports whether there is such an aggregate, by its state, and whose it is.
	exists    func(state any) (exists bool, holder string)
	condition Condition // of the sender's grants; nil = there is none
}

// requirable are the aggregates that a batch may require.
var requirable = map[string]func(r *requirement) error{
	"agent": func(r *requirement) error {
		r.name = events.StateEntry(r.id, r.key)
		r.fold = func(ev *events.Event) (any, error) { return agent.EvolveEntry(agent.Entry{}, ev) }
		r.exists = func(state any) (bool, string) { e, _ := state.(agent.Entry); return e.Exists, "" }
		return domain.CheckAgentID(r.id)
	},
	"config": func(r *requirement) error {
		r.name = events.Config(r.id, r.key)
		r.fold = func(ev *events.Event) (any, error) { return config.Evolve(config.Entry{}, ev) }
		r.exists = func(state any) (bool, string) { e, _ := state.(config.Entry); return e.Exists, "" }
		return domain.CheckAgentID(r.id)
	},
	"task": func(r *requirement) error {
		r.name, r.fold = events.Task(r.id), taskFold.carried
		r.exists = func(state any) (bool, string) { t, ok := state.(task.Task); return ok, t.AgentID }
		return domain.CheckID("task id", r.id)
	},
	"session": func(r *requirement) error {
		r.name, r.fold = events.Session(r.id), sessionFold.carried
		r.exists = func(state any) (bool, string) { _, ok := state.(session.Session); return ok, "" }
		return domain.CheckID("session id", r.id)
	},
	"view": func(r *requirement) error {
		r.name, r.fold = events.View(r.id), viewFold.carried
		r.exists = func(state any) (bool, string) { v, _ := state.(view.View); return v.Status == view.Defined, "" }
		return view.CheckName(r.id)
	},
	"claim": func(r *requirement) error {
		r.name, r.fold = events.Claim(r.id), claimFold.carried
		r.exists = func(state any) (bool, string) { c, ok := state.(claim.Claim); return ok, c.Owner }
		return domain.CheckID("claim id", r.id)
	},
}

// readRequire reads the member require of a batch.
func readRequire(list jsontext.Value, below func(string) string) ([]requirement, error) {
	if err := arrayMember("require", list); err != nil {
		return nil, err
	}
	var all []requirement
	d := lenientDecoder(list)
	for _, _ = d.ReadToken(); d.PeekKind() != ']'; { // '[': eachMember has parsed the list
		value, err := d.ReadValue()
		if err != nil {
			return nil, domain.CheckJSON(list)
		}
		if len(all) == maxRequire {
			return nil, domain.Errorf(domain.Invalid, "require.size", "a batch has at most %d requirements", maxRequire)
		}
		r, err := readRequirement(slice(d, list, value), below)
		if err != nil {
			return nil, requirementError(err, len(all))
		}
		all = append(all, r)
	}
	return all, nil
}

// requirementError is an error about one requirement, which its message names.
func requirementError(err error, i int) error {
	var known *domain.Error
	if errors.As(err, &known) {
		c := *known
		c.Message = fmt.Sprintf("require %d: %s", i, known.Message)
		return c.With("index", i)
	}
	return err
}

func readRequirement(text []byte, below func(string) string) (r requirement, err error) {
	var in struct {
		Subject *string `json:"subject"`
		Key     *string `json:"key"`
		Version *uint64 `json:"version"`
		Owner   *string `json:"owner"`
	}
	if err := domain.DecodeBody(text, &in); err != nil {
		return r, err
	}
	if in.Subject == nil {
		return r, domain.MissingField("subject")
	}
	tokens := strings.Split(below(*in.Subject), ".")
	bind := requirable[tokens[0]]
	switch {
	case bind == nil || len(tokens) < 2:
		return r, domain.Errorf(domain.Invalid, "require.unknown", "%.256q is not <aggregate>.<id>, where the aggregate is one of %s", *in.Subject, known(requirable))
	case len(tokens) > 2:
		return r, domain.DottedID(tokens[0]+" id", tokens[1:])
	}
	r = requirement{aggregate: tokens[0], id: tokens[1], version: in.Version}
	keyed := r.aggregate == "agent" || r.aggregate == "config"
	switch {
	case keyed && in.Key == nil:
		return r, domain.MissingField("key")
	case !keyed && in.Key != nil:
		return r, domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/key": a %s has no keys`, r.aggregate)
	case in.Owner != nil && r.aggregate != "claim":
		return r, domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/owner": only a claim has an owner`)
	case in.Owner == nil && in.Version == nil:
		return r, domain.MissingField("version")
	}
	if keyed {
		r.key = *in.Key
		if err := domain.CheckKey(r.key); err != nil {
			return r, err
		}
	}
	if in.Owner != nil {
		r.owner = *in.Owner
		if err := domain.CheckID("owner", r.owner); err != nil {
			return r, err
		}
	}
	return r, bind(&r)
}

// permitRequire refuses what the sender may not read: 403 forbidden.
func (h *Handler) permitRequire(ctx context.Context, all []requirement) (err error) {
	if h.cfg.Permit == nil {
		return nil
	}
	for i := range all {
		r, verb := &all[i], "get"
		if r.aggregate == "view" { // get is of its rows; who may read these need not know of its definition
			verb = "definition"
		}
		r.condition, err = h.cfg.Permit(ctx, grants.Action{Kind: grants.Query, Aggregate: r.aggregate, ID: r.id, Verb: verb, Key: r.key})
		if err != nil {
			return err
		}
	}
	return nil
}
