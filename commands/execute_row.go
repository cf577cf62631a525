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

// Commands of one aggregate that wait together are decided in memory, in order,
// each on the head that the one before it would leave, and are committed in one
// batch: a hot aggregate then pays for one append, not for each. What cannot go
// so goes alone, as it would without this: whoever comes to no event, is too
// old for the duplicate window, or has something to prepare.

// waiter is a command in its mailbox.
type waiter struct {
	ctx      context.Context
	deadline time.Time
	cmd      Command
	finish   func(Receipt, error)
	unsure   bool // a batch with it may have been stored
	alone    bool // its batch was refused
}

// run carries one command out by itself.
func (h *Handler) run(w *waiter) {
	ctx, cancel := context.WithDeadline(w.ctx, w.deadline)
	defer cancel()
	w.finish(h.guard(ctx, &w.cmd, w.unsure))
}

// runTogether carries out as many of the first of ws as can go together, and
// returns how many that were; 0 = the first must go alone.
func (h *Handler) runTogether(ws []*waiter) int {
	batcher, ok := h.journal.(history.Batcher)
	if !ok || !h.hot.Together(len(ws)) {
		return 0
	}
	ctx, cancel := context.WithDeadline(ws[0].ctx, ws[0].deadline)
	defer cancel()
	r := row{h: h, ids: make(map[string]bool, len(ws))}
	if err := r.decide(ctx, ws); err != nil || len(r.heads) < 2 {
		ws[0].alone = true
		return 0
	}
	ws = ws[:len(r.heads)]
	start := time.Now()
	last, err := batcher.AppendAll(ctx, r.writes)
	if err != nil {
		h.heads.drop(ws[0].cmd.Stream)
		if errors.Is(err, history.ErrConflict) {
			h.stats.Conflicts.Add(1)
		}
		for _, w := range ws {
			w.alone, w.unsure = true, errors.Is(err, history.ErrOutcomeUnknown)
		}
		return 0
	}
	h.hot.Learn(true, len(ws), time.Since(start))
	r.commit(last, ws)
	return len(ws)
}

// settled tells whether the duplicate window alone tells a repetition, so that
// nobody need look for one before the append.
func (h *Handler) settled(cmd *Command, now time.Time) bool {
	_, timed := MadeAt(cmd.CommandID)
	return !beyondWindow(cmd, now) && (timed || h.cfg.Archive == nil)
}

// row are the commands of one stream that are decided, one on the other.
type row struct {
	h      *Handler
	ids    map[string]bool
	writes []history.Write
	heads  []*head // after each command
	ends   []int   // how many writes there are up to each command
}

// decide goes on as long as each command comes to events. A panic of a decider
// ends the row: the command then meets it alone.
func (r *row) decide(ctx context.Context, ws []*waiter) (err error) {
	defer func() {
		if recover() != nil {
			r.h.heads.drop(ws[0].cmd.Stream)
			err = history.ErrConflict
		}
	}()
	first, err := r.h.load(ctx, ws[0].cmd.Stream, ws[0].cmd.fold)
	if err != nil {
		return err
	}
	for last := first; len(r.heads) < len(ws); last = r.heads[len(r.heads)-1] {
		w := ws[len(r.heads)]
		cmd, now := &w.cmd, r.h.cfg.Now()
		if w.ctx.Err() != nil || !time.Now().Before(w.deadline) || cmd.prepare != nil || cmd.decide == nil ||
			r.ids[cmd.CommandID] || last.commandID == cmd.CommandID || !r.h.settled(cmd, now) {
			return nil
		}
		d := cmd.decide(last.state, domain.Ask{Now: now, CommandID: cmd.CommandID, Revision: last.revision})
		if len(d.Events) == 0 || d.Outcome != domain.Accepted || len(r.writes)+len(d.Events) > groupcommit.GroupMost {
			return nil
		}
		if err := complete(d.Events, last, cmd.CommandID, now); err != nil {
			return err
		}
		next, err := headOf(&events.Record{Event: d.Events[len(d.Events)-1]}, cmd.fold)
		if err != nil {
			return err
		}
		for i := range d.Events {
			write := history.Write{Stream: cmd.Stream, Event: &d.Events[i], First: len(r.writes) == 0, After: first.revision}
			if i == 0 {
				write.ID = MessageID(cmd.Stream, cmd.CommandID)
			}
			r.writes = append(r.writes, write)
		}
		r.ids[cmd.CommandID] = true
		r.heads, r.ends = append(r.heads, next), append(r.ends, len(r.writes))
	}
	return nil
}

// commit gives each command its receipt, now that its events have their places.
func (r *row) commit(last uint64, ws []*waiter) {
	h, n := r.h, len(r.writes)
	h.stats.Appends.Add(int64(n))
	p := h.journal.Partition(ws[0].cmd.ID)
	newest := r.heads[len(r.heads)-1]
	newest.revision = last
	h.heads.put(ws[0].cmd.Stream, newest)
	for i := range r.writes {
		h.cfg.Observe(events.Record{Event: *r.writes[i].Event, Stream: r.writes[i].Stream, Partition: p, Revision: last - uint64(n-1-i)})
	}
	for i, w := range ws {
		w.finish(h.receipt(&w.cmd, domain.Accepted, r.heads[i].version, last-uint64(n-r.ends[i])), nil)
	}
}
