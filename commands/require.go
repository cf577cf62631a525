package commands

import (
	"context"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// require checks the requirements of a batch on the states before it: 409 require.failed,
// whose details.index is the first that fails.
func (b *batchAttempt) require(ctx context.Context, all []requirement) error {
	for i := range all {
		r := &all[i]
		last, err := b.load(ctx, r.name, r.fold)
		if err != nil {
			return err
		}
		exists, holder := r.exists(last.state)
		refused := r.failure(last, exists, b)
		if r.condition != nil {
			if err := r.condition(exists, holder); err != nil {
				refused = err
			}
		}
		if refused == nil {
			continue
		}
		if err := b.h.confirm(ctx, r.name, last); err != nil {
			return err
		}
		return indexed(refused, i)
	}
	return nil
}

// failure is why a requirement does not hold; nil = it holds.
func (r *requirement) failure(last *head, exists bool, b *batchAttempt) error {
	if v := r.version; v != nil && *v != last.version && (*v != 0 || exists) {
		return domain.Errorf(domain.Conflict, "require.failed", "%s must be at version %d, it is at %d", r.name, *v, last.version).
			With("version", last.version)
	}
	if r.owner == "" {
		return nil
	}
	c, _ := last.state.(claim.Claim)
	if !c.HeldAt(b.now) {
		return domain.Errorf(domain.Conflict, "require.failed", "%s must be held by %s, it is not held", r.name, r.owner).With("version", last.version)
	}
	if c.Owner != r.owner {
		return domain.Errorf(domain.Conflict, "require.failed", "%s must be held by %s, it is held by %s", r.name, r.owner, c.Owner).
			With("version", last.version).With("owner", c.Owner)
	}
	return nil
}

// guard makes the append compare the required aggregates that the batch does not write, one
// event for each. Without an append the leader confirms them.
func (b *batchAttempt) guard(ctx context.Context, cmds []Command, all []requirement) error {
	var names []events.AggregateName
	seen := map[events.AggregateName]bool{}
	for i := range all {
		name := all[i].name
		if seen[name] || b.heads[name] != b.loaded[name] {
			continue // its own write compares it
		}
		seen[name] = true
		if names = append(names, name); len(b.writes) > 0 {
			continue
		}
		if err := b.h.confirm(ctx, name, b.loaded[name]); err != nil {
			return err
		}
	}
	if len(b.writes) == 0 || len(names) == 0 {
		return nil
	}
	id := cmds[0].ID
	last, err := b.load(ctx, events.Require(id), stateless)
	if err != nil {
		return err
	}
	evs := make([]events.Event, 0, len(names)+1)
	add := func(typ string, data any) error {
		text, err := domain.Encode(data)
		evs = append(evs, events.Event{Type: typ, Aggregate: "require", ID: id, Timestamp: b.now, Data: text})
		return err
	}
	err = add(events.RequireDeclared, events.RequireBatch{Checks: len(names)})
	for _, name := range names {
		if err == nil {
			err = add(events.RequireChecked, events.RequireCheck{Name: name, Version: b.loaded[name].version, Revision: b.loaded[name].revision})
		}
	}
	if err != nil {
		return domain.Errorf(domain.Internal, "event.encode", "%v", err)
	}
	from := len(b.writes)
	if _, err := b.write(ctx, &cmds[0], events.Require(id), last, evs, stateless); err != nil {
		return err
	}
	b.writes[from].ID = "" // it is that of the command's own events
	for i, name := range names {
		w := &b.writes[from+1+i]
		w.First, w.Compares, w.After = true, name, b.loaded[name].revision
	}
	return nil
}

// maxAppend is how many messages the server takes in one atomic batch.
const maxAppend = 1000

func tooManyWrites(writes []history.Write) error {
	if len(writes) <= maxAppend {
		return nil
	}
	return domain.Errorf(domain.TooLarge, "batch.too_large",
		"the batch leads to %d events, its requirements included, and one append takes %d: send fewer commands in one batch", len(writes), maxAppend)
}
