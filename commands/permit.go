package commands

import (
	"cmp"
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// Permit decides whether the sender of a request, which is in its context, may do a.
// It fails with 403 forbidden. If the answer depends on who holds the task, it returns
// a condition; nil = there is none.
type Permit func(ctx context.Context, a grants.Action) (Condition, error)

// Condition fails with 403 forbidden unless the sender is, or acts for, all of these
// agents; "" is no agent and always permitted. exists = false is refused too: the sender
// must not learn which tasks there are.
type Condition func(exists bool, agents ...string) error

// read turns a request into a command, or refuses it. What the sender may not do is
// refused before its body is read.
func (h *Handler) read(ctx context.Context, req Request) (Command, error) {
	cmd, err := h.readAt(ctx, req, h.cfg.Now())
	if err == nil {
		err = h.checkSent(ctx, &cmd)
	}
	return cmd, err
}

// readAt is read at a time, without what the command sends later.
func (h *Handler) readAt(ctx context.Context, req Request, now time.Time) (Command, error) {
	scope, known := grants.ScopeOf(grants.Command, req.Aggregate, req.Verb)
	if h.cfg.Permit == nil || req.Internal || !Known(req.Aggregate, req.Verb) {
		cmd, err := read(req, now, h.cfg.Bounds)
		cmd.actor, cmd.trace = identity.Actor(ctx), trace.From(ctx)
		return cmd, err
	}
	a := grants.Action{Kind: grants.Command, Aggregate: req.Aggregate, ID: req.ID, Verb: req.Verb, AnyKey: known && scope == grants.ByKey}
	condition, err := h.cfg.Permit(ctx, a)
	if err != nil {
		return Command{}, err
	}
	cmd, err := read(req, now, h.cfg.Bounds)
	if err != nil {
		return Command{}, err
	}
	cmd.actor, cmd.trace = identity.Actor(ctx), trace.From(ctx)
	if a.AnyKey {
		a.AnyKey, a.Key = false, cmd.Key
		if condition, err = h.cfg.Permit(ctx, a); err != nil {
			return Command{}, err
		}
	}
	if cmd.source != "" {
		if _, err := h.cfg.Permit(ctx, grants.Action{Kind: grants.Query, Aggregate: "agent", ID: cmd.source, Verb: "entries"}); err != nil {
			return Command{}, err
		}
	}
	if cmd.shows != nil {
		if err := h.permitShow(ctx, *cmd.shows); err != nil {
			return Command{}, err
		}
	}
	if condition != nil {
		cmd.guard = guardOf(&cmd, condition, h.cfg.Now)
	}
	return cmd, nil
}

// permitShow refuses a view of rows that the sender may not read.
func (h *Handler) permitShow(ctx context.Context, rows grants.Rows) error {
	condition, err := h.cfg.Permit(ctx, rows.Action())
	if err != nil || condition == nil {
		return err
	}
	return condition(true, cmp.Or(rows.Agents, "*")) // only rows of agents that the sender is
}

// guardOf is the guard of a task's command that only the holder may give. Who creates
// a task for an agent must be that agent. A task whose lease has run out counts as one without a holder.
func guardOf(cmd *Command, permitted Condition, now func() time.Time) func(state any) error {
	holder, creates, claims := cmd.holder, cmd.creates, cmd.claims
	return func(state any) error {
		if creates {
			return permitted(true, holder)
		}
		t, exists := state.(task.Task)
		if claims && t.Expired(now()) {
			t.AgentID = t.AssignedTo
		}
		return permitted(exists && t.Status != "", t.AgentID, holder)
	}
}
