package journal

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestNothingIsAppendedAfterAPause: what an engine held while it was stopped may have been refused
// by another one meanwhile.
func TestNothingIsAppendedAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Guard{}
		if g.pauses.refusal() != nil {
			t.Error("refused without a watch")
		}
		var running sync.WaitGroup
		watch := func() context.CancelFunc {
			ctx, cancel := context.WithCancel(t.Context())
			running.Go(func() { g.WatchPauses(ctx) })
			return func() { cancel(); running.Wait() }
		}
		stop := watch()
		time.Sleep(10 * time.Second)
		if err := g.pauses.refusal(); err != nil {
			t.Errorf("refused while the engine runs: %v", err)
		}
		stop() // from here on the process stands still
		time.Sleep(longPause + 2*pauseTick)
		if g.pauses.refusal() == nil {
			t.Error("an append right after the pause was not refused")
		}
		stop = watch()
		time.Sleep(afterPause / 2)
		if g.pauses.refusal() == nil {
			t.Error("an append soon after the pause was not refused")
		}
		time.Sleep(afterPause)
		if err := g.pauses.refusal(); err != nil {
			t.Errorf("refused long after the pause: %v", err)
		}
		stop()
	})
}

// TestNothingIsAppendedAfterASuspension: the monotonic clock stands still while the machine is
// suspended; the wall clock does not.
func TestNothingIsAppendedAfterASuspension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		suspended := time.Duration(0)
		p := &pauses{wall: func() time.Time { return time.Now().Round(0).Add(suspended) }}
		p.tick()
		suspended = longPause + pauseTick
		if p.refusal() == nil {
			t.Error("an append right after the machine was suspended was not refused")
		}
		p.tick()
		time.Sleep(afterPause / 2)
		if p.tick(); p.refusal() == nil {
			t.Error("an append soon after it was not refused")
		}
		time.Sleep(afterPause)
		p.tick()
		suspended -= time.Hour // the clock is set back
		if err := p.refusal(); err != nil {
			t.Errorf("refused long after it: %v", err)
		}
	})
}
