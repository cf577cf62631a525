package app

import (
	"context"
	"sync"

	"github.com/tidemark-engine/tidemark/projections"
)

// runAll runs runners until ctx ends, and broadcasts their progress.
func (v *views) runAll(ctx context.Context, runners []*projections.Runner) {
	if v.broadcast != nil {
		for _, r := range runners {
			v.running.Go(func() { v.broadcast.Publish(ctx, r.View, r.Partition, r.Progress) })
		}
	}
	for ctx.Err() == nil {
		v.runRound(ctx, runners)
	}
}

// round is the time between two restarts of the runners.
type round struct {
	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup
	next    chan struct{} // closed when the next round has begun
}

func newRound() *round {
	r := &round{next: make(chan struct{})}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

// runRound runs runners until ctx or the round ends.
func (v *views) runRound(ctx context.Context, runners []*projections.Runner) {
	v.mu.Lock()
	round := v.round
	ended := round.ctx.Err() != nil
	if !ended {
		round.running.Add(1)
	}
	v.mu.Unlock()
	if ended {
		select {
		case <-round.next:
		case <-ctx.Done():
		}
		return
	}
	defer round.running.Done()
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(round.ctx, cancel)()
	var running sync.WaitGroup
	for _, r := range runners {
		running.Go(func() { r.Run(runCtx) })
	}
	running.Wait()
}

// restart ends all runners, calls between, and runs them again from their stored
// positions.
func (v *views) restart(between func()) {
	v.restarting.Lock()
	defer v.restarting.Unlock()
	v.mu.Lock()
	old := v.round
	old.end()
	v.mu.Unlock()
	old.running.Wait()
	between()
	v.mu.Lock()
	v.round = newRound()
	v.mu.Unlock()
	close(old.next)
}

// reload makes the runners of a view load their position again.
func (v *views) reload(view, reason string) {
	for _, c := range v.restarts[view] {
		select {
		case c <- reason:
		default: // an earlier reason has the same effect
		}
	}
}
