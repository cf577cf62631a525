package commands

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// group is the first commands of one aggregate's queue, decided in memory, each
// on the state that the one before it leads to, and appended as one batch: a hot
// aggregate pays for one append. Commands that produce no events, need a search
// for an earlier delivery or need preparation are executed one at a time.
type group struct {
	h      *Handler
	ids    map[string]bool // command ids
	writes []history.Write
	heads  []*head // after each command
	ends   []int   // number of writes up to and with each command
}

// executeGroup executes the first commands of a queue with one append and
// returns how many; 0 = the first must be executed by itself.
func (h *Handler) executeGroup(queue []*job) int {
	n := 0
	for n < len(queue) && !queue[n].single {
		n++
	}
	if n < 2 || !h.policy.UseBatch(n) {
		return 0
	}
	first := queue[0]
	ctx, cancel := context.WithDeadline(first.ctx, first.deadline)
	defer cancel()
	g := group{h: h, ids: make(map[string]bool, n)}
	if err := g.decide(ctx, queue[:n]); err != nil || len(g.heads) < 2 {
		first.single = true
		return 0
	}
	jobs := queue[:len(g.heads)]
	start := time.Now()
	// gofail: var groupAppend struct{}
	cmds := make([]*Command, len(jobs))
	for i, j := range jobs {
		cmds[i] = &j.cmd
	}
	done, err := h.store(ctx, g.writes, cmds...)
	// gofail: var groupAppended struct{}
	// err = history.ErrOutcomeUnknown
	if err != nil {
		h.heads.drop(first.cmd.Name)
		if errors.Is(err, history.ErrConflict) {
			h.stats.Conflicts.Add(1)
		}
		for _, j := range jobs {
			j.single, j.unsure = true, errors.Is(err, history.ErrOutcomeUnknown)
		}
		return 0
	}
	h.policy.Measured(true, len(jobs), time.Since(start))
	g.finish(done.Revision, jobs)
	return len(jobs)
}

// decide decides commands as long as each produces events. A panic of a decider
// ends the group: the command then panics when it is executed by itself.
func (g *group) decide(ctx context.Context, jobs []*job) (err error) {
	name := jobs[0].cmd.Name
	defer func() {
		if recover() != nil {
			g.h.heads.drop(name)
			err = history.ErrConflict
		}
	}()
	g.h.dropValueless(&jobs[0].cmd)
	first, err := g.h.load(ctx, name, jobs[0].cmd.fold)
	if err != nil {
		return err
	}
	for last := first; len(g.heads) < len(jobs); last = g.heads[len(g.heads)-1] {
		j := jobs[len(g.heads)]
		cmd, now := &j.cmd, g.h.cfg.Now()
		if j.ctx.Err() != nil || !time.Now().Before(j.deadline) || cmd.prepare != nil || cmd.lookup != nil || cmd.decide == nil || cmd.guard != nil ||
			g.ids[cmd.CommandID] || last.commandID == cmd.CommandID || !g.h.windowSuffices(ctx, cmd, now) {
			return nil
		}
		deciding := g.h.cfg.Trace.Begin(cmd.trace, spanDecide)
		d := cmd.decide(last.state, domain.Metadata{Now: now, CommandID: cmd.CommandID, Actor: cmd.actor, Revision: last.revision, Version: last.version})
		deciding.Int("tidemark.events", int64(len(d.Events)))
		deciding.End()
		if len(d.Events) == 0 || d.Outcome != domain.Accepted || len(g.writes)+len(d.Events) > groupcommit.MaxBatch {
			return nil
		}
		if err := g.h.completeOwn(ctx, d.Events, last, cmd, now); err != nil {
			return err
		}
		next, err := headOf(&events.Record{Event: d.Events[len(d.Events)-1]}, cmd.fold)
		if err != nil {
			return err
		}
		writes := history.Writes(name, first.revision, cmd.messageID(), d.Events)
		writes[0].First = len(g.writes) == 0
		g.writes = append(g.writes, writes...)
		g.ids[cmd.CommandID] = true
		g.heads, g.ends = append(g.heads, next), append(g.ends, len(g.writes))
	}
	return nil
}

// finish answers the commands of a stored batch that ends at revision last.
func (g *group) finish(last uint64, jobs []*job) {
	h, n := g.h, len(g.writes)
	h.stats.Appends.Add(int64(n))
	newest := g.heads[len(g.heads)-1]
	newest.revision = last
	h.heads.put(jobs[0].cmd.Name, newest)
	h.observe(g.writes, last)
	for i, j := range jobs {
		j.finish(h.receiptAt(&j.cmd, domain.Accepted, g.heads[i], last-uint64(n-g.ends[i])), nil)
	}
}

// observe reports the events of a stored batch that ends at revision last.
func (h *Handler) observe(writes []history.Write, last uint64) {
	p := h.journal.Partition(writes[0].Name.ID())
	h.acked.raise(p, last)
	for i, w := range writes {
		h.cfg.Observe(events.Record{Event: *w.Event, Name: w.Name, Partition: p, Revision: last - uint64(len(writes)-1-i)})
	}
}
