package commands

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

func (r *revertRun) pendingNames() []events.AggregateName {
	names := make([]events.AggregateName, len(r.pending))
	for i := range r.pending {
		names[i] = events.StateEntry(r.agent, r.pending[i].Key)
	}
	return names
}

// flush appends the pending entries in one batch of several.
func (r *revertRun) flush(ctx context.Context, last bool) error {
	return r.h.holding(ctx, append([]events.AggregateName{r.cmd.Name}, r.pendingNames()...), func() error { return r.appendAgain(ctx, last) })
}

// appendAgain appends the pending entries, again after a conflict with another engine.
// The first and the last batch have an event of the lifecycle, one batch for all has
// agent.reverted alone.
func (r *revertRun) appendAgain(ctx context.Context, last bool) error {
	for {
		err := r.append(ctx, r.pendingNames(), last)
		if !errors.Is(err, history.ErrConflict) {
			return err
		}
		r.h.stats.Conflicts.Add(1)
		if wait.Sleep(ctx, 2*time.Millisecond) != nil {
			return err
		}
	}
}

func (r *revertRun) append(ctx context.Context, names []events.AggregateName, last bool) error {
	h, now := r.h, r.h.cfg.Now()
	ends, err := h.cfg.Past.Ends(ctx, names, history.Bound{}, history.Linearizable)
	if err != nil {
		return err
	}
	var entries []history.Write
	for i := range ends {
		m := &ends[i]
		if m.Bad != nil {
			return m.Bad
		}
		entry, err := agent.EvolveEntry(agent.Entry{}, &m.Event)
		if err != nil {
			return err
		}
		d := agent.DecideEntry(entry, r.pending[i], domain.Metadata{Now: now, CommandID: r.cmd.CommandID, Revision: m.Revision})
		if d.Refusal != nil {
			return d.Refusal
		}
		if d.Outcome == domain.Unchanged || m.CommandID == r.cmd.CommandID {
			continue
		}
		if err := h.complete(ctx, d.Events, headAt(&m.Record), r.cmd, now); err != nil {
			return err
		}
		entries = append(entries, history.Writes(m.Name, m.Revision, MessageID(m.Name, r.cmd.CommandID+"/revert"), d.Events)...)
	}
	writes, next, err := r.lifecycle(ctx, len(entries), last, now)
	if err != nil {
		return err
	}
	if writes = append(writes, entries...); len(writes) == 0 {
		r.pending, r.bytes = nil, 0
		return nil
	}
	done, err := h.store(ctx, writes, r.cmd)
	for _, w := range writes {
		h.heads.drop(w.Name)
	}
	switch {
	case err != nil:
		return err
	case done.Duplicate:
		return history.ErrOutcomeUnknown
	}
	h.stats.Appends.Add(int64(len(writes)))
	h.observe(writes, done.Revision)
	for _, w := range entries {
		r.done[w.Name] = true
	}
	if r.begun == 0 {
		r.begun = done.Revision - uint64(len(writes)-1)
	}
	if last {
		keys := len(r.done)
		r.receipt = h.receipt(r.cmd, domain.Accepted, next, done.Revision)
		r.receipt.Keys = &keys
	}
	r.pending, r.bytes = nil, 0
	return nil
}

// lifecycle are the writes to the lifecycle before those of n entries, and its version
// after them.
func (r *revertRun) lifecycle(ctx context.Context, n int, last bool, now time.Time) (writes []history.Write, version uint64, err error) {
	id, typ := MessageID(r.cmd.Name, r.cmd.CommandID), events.Reverted
	data := events.AgentReversion{RevertPoint: r.point, Follows: n}
	switch {
	case last:
		data.Keys = len(r.done) + n
	case r.begun == 0:
		id, typ = MessageID(r.cmd.Name, r.cmd.CommandID+"/begun"), events.RevertStarted
	default:
		return nil, 0, nil
	}
	known, err := r.h.load(ctx, r.cmd.Name, r.cmd.fold)
	if err != nil {
		return nil, 0, err
	}
	state, _ := known.state.(agent.Lifecycle) // nil before the first event
	d := agent.DecideLifecycle(state, agent.Change{Agent: r.agent, Type: typ, Data: events.LifecycleChange{
		Reason: r.reason, Request: r.request, Reverted: &data,
	}}, domain.Metadata{Now: now, CommandID: r.cmd.CommandID, Revision: known.revision})
	if d.Refusal != nil {
		return nil, 0, d.Refusal
	}
	if err := r.h.completeOwn(ctx, d.Events, known, r.cmd, now); err != nil {
		return nil, 0, err
	}
	return history.Writes(r.cmd.Name, known.revision, id, d.Events), d.Events[0].Version, nil
}
