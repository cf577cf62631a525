package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
	folds "github.com/tidemark-engine/tidemark/readmodel/declared"
)

// declaredRun is one generation that this engine runs.
type declaredRun struct {
	g        declared.Generation
	progress *projections.Progress
	runners  []*projections.Runner
	stop     func() // ends the runners and waits for their end
}

// generations are the tables of a view; nil = there are none.
type generations struct{ live, next *declared.Generation }

// decide makes the first change to the registry that the definitions want, and reports
// whether there was one. What prevents it for one view does not stop the others.
func (d *declaredViews) decide(ctx context.Context, gs []declared.Generation) (done bool, err error) {
	have := map[string]generations{}
	for i := range gs {
		g := &gs[i]
		p := have[g.View]
		if g.Live {
			p.live = g
		} else {
			p.next = g
		}
		have[g.View] = p
	}
	accepted, err := d.accepted(ctx)
	if err != nil || !accepted {
		return false, err
	}
	d.mu.Lock()
	wanted := maps.Clone(d.wanted)
	d.mu.Unlock()
	names := slices.AppendSeq(slices.Collect(maps.Keys(wanted)), maps.Keys(have))
	slices.Sort(names)
	var errs []error
	for _, name := range slices.Compact(names) {
		done, err := d.decideView(ctx, name, wanted[name], have[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("view %s: %w", name, err))
			continue
		}
		if done {
			return true, errors.Join(errs...)
		}
	}
	return false, errors.Join(errs...)
}

// decideView is decide for one view.
func (d *declaredViews) decideView(ctx context.Context, name string, w wantedView, have generations) (done bool, err error) {
	good := func(g *declared.Generation) bool {
		return g != nil && !g.Broken && g.Journal == d.journal.ID() && g.Version >= folds.Version(w.Definition.From) && g.Definition.Equal(w.Definition)
	}
	switch {
	case w.Status != view.Defined:
		if have.live == nil && have.next == nil {
			return false, nil
		}
		return true, d.Remove(ctx, name)
	case have.next != nil && !good(have.next) && good(have.live):
		return true, d.DropBuilding(ctx, name)
	case have.next != nil && good(have.next):
		swapped, err := d.Swap(ctx, have.next)
		if swapped {
			d.log.Info("the rows of a declared view are built", "view", name, "generation", have.next.ID)
		}
		return swapped, err
	case !good(have.live):
		heads, err := d.heads(ctx, w)
		if err != nil {
			return false, err
		}
		return true, d.Create(ctx, w.Definition, d.journal.ID(), heads, false)
	}
	return false, nil
}

// heads are the ends of the partitions, and at least the definition's own revision.
func (d *declaredViews) heads(ctx context.Context, w wantedView) ([]uint64, error) {
	heads, err := d.journal.heads(ctx)
	if err != nil {
		return nil, err
	}
	heads = slices.Clone(heads)
	heads[w.partition] = max(heads[w.partition], w.revision)
	return heads, nil
}

// accepted reports whether the durable view is folded from this journal: else an operator
// has yet to decide which journal is the right one.
func (d *declaredViews) accepted(ctx context.Context) (bool, error) {
	ids, err := d.db.Journals(ctx)
	return len(ids) == 0 || slices.Contains(ids, d.journal.ID()), err
}

// follow stops the runners of generations that are not there any more, and starts those of
// new ones.
func (d *declaredViews) follow(ctx context.Context, gs []declared.Generation) {
	have := map[int64]*declared.Generation{}
	for i := range gs {
		if !gs[i].Broken {
			have[gs[i].ID] = &gs[i]
		}
	}
	d.mu.Lock()
	runs := maps.Clone(d.runs)
	d.mu.Unlock()
	var ended []*declaredRun
	for id, run := range runs {
		if g := have[id]; g == nil || g.Live != run.g.Live {
			ended = append(ended, run)
		}
	}
	for _, run := range ended {
		run.stop()
	}
	var begun []*declaredRun
	for id, g := range have {
		if run := runs[id]; run == nil || run.g.Live != g.Live {
			begun = append(begun, d.newRun(ctx, *g))
		}
	}
	if len(ended) == 0 && len(begun) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, run := range ended {
		delete(d.runs, run.g.ID)
		if d.live[run.g.View] == run {
			delete(d.live, run.g.View)
		}
	}
	for _, run := range begun {
		d.runs[run.g.ID] = run
		if run.g.Live {
			d.live[run.g.View] = run
		}
	}
	close(d.changed)
	d.changed = make(chan struct{})
	if d.replaced != nil {
		d.replaced()
	}
}

// newRun starts the runners of a generation.
func (d *declaredViews) newRun(ctx context.Context, g declared.Generation) *declaredRun {
	v := d.views
	name := g.Checkpoint()
	run := &declaredRun{g: g, progress: projections.NewProgress(d.journal.Partitions())}
	if g.Live { // who waits for the generation before it is woken by this one
		d.mu.Lock()
		if d.reached[g.View] == nil {
			d.reached[g.View] = run.progress
		}
		run.progress = d.reached[g.View]
		d.mu.Unlock()
	}
	if at, err := d.Positions(ctx, &g); err == nil {
		for p, position := range at {
			run.progress.Set(p, position)
		}
	}
	stops := []func(){}
	if stop, err := v.follow(name, run.progress); err == nil {
		stops = append(stops, stop)
	} else {
		d.log.Warn("the progress of a view in other engines is not known", "view", name, "error", err)
	}
	runCtx, cancel := context.WithCancel(v.ctx)
	var running sync.WaitGroup
	target := declared.NewTarget(d.db, g)
	if g.Live && g.Definition.In(view.KV) {
		wake := make(chan struct{}, 1)
		target.Written = func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
		running.Go(func() { d.pump(runCtx, g.View, wake) })
	}
	for p := range d.journal.Partitions() {
		r := v.runner(name, p, target, run.progress, declaredBatching)
		r.Quarantine, r.ReadStream = v.quarantine.Store, v.journal.history.Of
		run.runners = append(run.runners, r)
		running.Go(func() { v.hold(runCtx, name, r) })
	}
	run.stop = func() {
		cancel()
		running.Wait()
		for _, stop := range stops {
			stop()
		}
	}
	return run
}

// declaredBatching writes at once, and under load with few and large transactions.
var declaredBatching = projections.Batching{Busy: busyDeclared, Max: 4000}

// runners are those of all generations, ordered by view.
func (d *declaredViews) runners() (all []*projections.Runner) {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	runs := slices.Collect(maps.Values(d.runs))
	slices.SortFunc(runs, func(a, b *declaredRun) int { return strings.Compare(a.g.Checkpoint(), b.g.Checkpoint()) })
	for _, run := range runs {
		all = append(all, run.runners...)
	}
	return all
}

// isDeclared reports whether a view in the status is a declared one.
func isDeclared(name string) bool { return strings.HasPrefix(name, declared.ViewPrefix) }

// await waits until every declared view has read a partition up to a revision, and the
// buckets have what they changed.
func (d *declaredViews) await(ctx context.Context, partition int, revision uint64) error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	runs := slices.Collect(maps.Values(d.runs))
	d.mu.Unlock()
	for _, run := range runs {
		if !run.progress.Wait(ctx, partition, revision) {
			return fmt.Errorf("the view %s has not reached revision %d of partition %d", run.g.Checkpoint(), revision, partition)
		}
		for run.g.Live && run.g.Definition.In(view.KV) {
			pending, err := d.Pending(ctx, run.g.View, 1)
			if err != nil {
				return err
			}
			if len(pending) == 0 {
				break
			}
			if err := wait.Sleep(ctx, pumpPoll); err != nil {
				return fmt.Errorf("the bucket of view %s has not the last changes", run.g.View)
			}
		}
	}
	return nil
}
