package commands

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// command is the revert of all entries of an agent. Its lifecycle knows the command: the
// event agent.reverted ends it, and agent.revert_started begins one that takes several
// appends. It waits in a mailbox of its own, because it holds those of what it appends to.
func (v *revert) command() Command {
	return Command{
		Aggregate: "agent", ID: v.agent, Name: events.Lifecycle(v.agent), mailbox: events.Lifecycle(v.agent) + ".revert",
		request: request{print: v.request}, reverts: true, effect: revertEffect, fold: lifecycleFold.carried,
		long: true, run: v.execute,
	}
}

// begunRevert means that a revert has begun and was not seen to end.
type begunRevert struct{ events.Record }

func (*begunRevert) Error() string { return "the revert has begun" }

func revertEffect(rec *events.Record) (effect, error) {
	if rec.Type == events.RevertStarted {
		return effect{}, &begunRevert{*rec}
	}
	e, err := acceptedEffect(rec)
	if rec.Type != events.Reverted || err != nil {
		return e, err
	}
	d, err := reversionOf(rec)
	e.revision, e.keys = e.revision+uint64(d.Follows), &d.Keys
	return e, err
}

func reversionOf(rec *events.Record) (events.AgentReversion, error) {
	var d events.LifecycleChange
	if err := json.Unmarshal(rec.Data, &d); err != nil || d.Reverted == nil {
		return events.AgentReversion{}, err // erased: the keys are not known any more
	}
	return *d.Reverted, nil
}

func (v *revert) execute(h *Handler, ctx context.Context, cmd *Command, _ bool) (r Receipt, err error) {
	if h.cfg.Past == nil {
		return Receipt{}, noPast()
	}
	err = h.retryLoaded(ctx, cmd, true, func(bool) (err error) {
		r, err = v.attempt(ctx, h, cmd)
		return err
	})
	return r, err
}

func (v *revert) attempt(ctx context.Context, h *Handler, cmd *Command) (Receipt, error) {
	last, err := h.load(ctx, cmd.Name, cmd.fold)
	if err != nil {
		return Receipt{}, err
	}
	run := &revertRun{revert: v, h: h, cmd: cmd, last: last, pattern: events.AgentStates(v.agent), done: map[events.AggregateName]bool{}}
	r, found, err := h.dedup(ctx, cmd, last, h.cfg.Now(), true)
	var begun *begunRevert
	switch {
	case errors.As(err, &begun):
		if r, found, err = run.resume(ctx, &begun.Record); found || err != nil {
			return r, err
		}
	case found || err != nil:
		return r, err
	}
	return run.run(ctx)
}

// revertRun is one attempt to revert an agent.
type revertRun struct {
	*revert
	h       *Handler
	cmd     *Command
	last    *head // of the lifecycle
	pattern events.AggregateName
	begun   uint64 // revision of agent.revert_started; 0 = not yet
	moment  history.Moment
	before  bool                          // the point is before the first event
	done    map[events.AggregateName]bool // entries that this command has changed
	pending []agent.Write                 // entries to change next
	bytes   int                           // of their values
	receipt Receipt
}

// resume continues a command that has begun: it finds its end, or what it has done.
func (r *revertRun) resume(ctx context.Context, begun *events.Record) (Receipt, bool, error) {
	e, err := acceptedEffect(begun)
	if err != nil {
		return Receipt{}, false, err
	}
	if !begun.Erased && !r.cmd.request.is(e.request) {
		return Receipt{}, false, r.cmd.reused()
	}
	r.begun = begun.Revision
	var end *events.Record
	err = r.h.cfg.Past.Of(ctx, r.cmd.Name, begun.Revision, 0, func(m history.Message) error {
		if m.Bad == nil && m.CommandID == r.cmd.CommandID && m.Type == events.Reverted {
			end = &m.Record
		}
		return m.Bad
	})
	if err != nil {
		return Receipt{}, false, err
	}
	if end != nil {
		receipt, err := r.h.replay(r.cmd, end)
		return receipt, true, err
	}
	head, err := r.h.cfg.Past.Head(ctx, begun.Partition)
	if err != nil {
		return Receipt{}, false, err
	}
	return Receipt{}, false, r.h.cfg.Past.Matching(ctx, begun.Partition, []events.AggregateName{r.pattern}, begun.Revision, head, func(m history.Message) error {
		if m.Bad == nil && m.CommandID == r.cmd.CommandID {
			r.done[m.Name] = true
		}
		return nil
	})
}

const (
	revertChunk = 512  // entries that are read at a time
	maxHeld     = 5000 // entries that are held while a revert is appended with one batch
)

// run compares all entries with what they were and changes those that differ.
func (r *revertRun) run(ctx context.Context) (Receipt, error) {
	past, p := r.h.cfg.Past, r.h.journal.Partition(r.agent)
	var err error
	if r.moment, r.before, err = r.pointIn(ctx, r.h); err != nil {
		return Receipt{}, err
	}
	head, err := past.Head(ctx, p)
	if err != nil {
		return Receipt{}, err
	}
	names, err := past.Names(ctx, r.pattern)
	if err != nil {
		return Receipt{}, err
	}
	if len(names) == 0 {
		return Receipt{}, domain.Errorf(domain.NotFound, "agent.not_found", "agent %s has no entries to revert, and never had one", r.agent)
	}
	slices.Sort(names)
	if err := r.checkErased(ctx, names); err != nil {
		return Receipt{}, err
	}
	for some := range slices.Chunk(names, revertChunk) {
		if err := r.add(ctx, some); err != nil {
			return Receipt{}, err
		}
	}
	if r.begun == 0 {
		if len(r.pending) == 0 {
			receipt := r.h.receipt(r.cmd, domain.Unchanged, r.last.version, r.last.revision)
			receipt.Keys = new(int)
			return receipt, nil
		}
		if err := r.atOnce(ctx, names, head); r.receipt.Keys != nil || err != nil {
			return r.receipt, err
		}
	}
	err = r.flush(ctx, true)
	return r.receipt, err
}

// add makes entries pending that differ from what they were, and appends what does not
// fit into one batch.
func (r *revertRun) add(ctx context.Context, names []events.AggregateName) error {
	differing, err := r.compare(ctx, names)
	if err != nil {
		return err
	}
	for _, w := range differing {
		if !r.fits(&w) {
			if err := r.flush(ctx, false); err != nil {
				return err
			}
		}
		r.pending, r.bytes = append(r.pending, w), r.bytes+len(w.Value)
	}
	return nil
}

func (r *revertRun) fits(w *agent.Write) bool {
	return len(r.pending) < forkEvents && (len(r.pending) == 0 || r.bytes+len(w.Value) <= forkBytes)
}

// atOnce appends all changes in one batch, while the agent's entries are held: those
// that were written after head, when names were compared, are compared again. Where that
// makes too many for one batch, it appends the first batch of several, and the receipt
// has no keys yet.
func (r *revertRun) atOnce(ctx context.Context, names []events.AggregateName, head uint64) error {
	if len(names) > maxHeld {
		names = r.pendingNames()
	}
	var left []agent.Write
	holding, cancel := context.WithTimeout(ctx, r.h.cfg.Timeout) // others wait for the entries
	defer cancel()
	err := r.h.holding(holding, append([]events.AggregateName{r.cmd.Name}, names...), func() error {
		ctx := holding
		written := map[events.AggregateName]bool{}
		rng := history.Range{Partition: r.h.journal.Partition(r.agent), Aggregate: r.pattern, After: head}
		err := r.h.cfg.Past.Range(ctx, rng, func(m history.Message) error {
			written[m.Name] = true
			return m.Bad
		})
		if err != nil {
			return err
		}
		for _, name := range r.pendingNames() {
			delete(written, name)
		}
		for some := range slices.Chunk(slices.Sorted(maps.Keys(written)), revertChunk) {
			differing, err := r.compare(ctx, some)
			if err != nil {
				return err
			}
			for _, w := range differing {
				if len(left) > 0 || !r.fits(&w) {
					left = append(left, w)
					continue
				}
				r.pending, r.bytes = append(r.pending, w), r.bytes+len(w.Value)
			}
		}
		return r.appendAgain(ctx, len(left) == 0)
	})
	for _, w := range left {
		if err == nil {
			err = r.add(ctx, []events.AggregateName{events.StateEntry(r.agent, w.Key)})
		}
	}
	return err
}
