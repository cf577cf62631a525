package projections_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/projections"
)

// Each waiter wakes at its own position, whatever the others wait for or have given up.
func TestProgressWakesWhoHasReachedTheirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := projections.NewProgress(2)
		const n = 100
		var mu sync.Mutex
		got := make([]bool, n)
		done := make([]bool, n)
		for i := range n {
			go func() {
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				}
				defer cancel()
				reached := p.Wait(ctx, 0, uint64(n-i))
				mu.Lock()
				defer mu.Unlock()
				got[i], done[i] = reached, true
			}()
		}
		check := func(reached int, late bool) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			for i := range n {
				in, gaveUp := n-i <= reached, late && i%3 == 0
				if done[i] != (in || gaveUp) || got[i] != (in && (!gaveUp || n-i <= 40)) {
					t.Errorf("at %d, late %v: waiter of %d is done %v with %v", reached, late, n-i, done[i], got[i])
				}
			}
		}
		p.Set(1, 1000) // another partition
		check(0, false)
		p.Set(0, 40)
		p.Set(0, 20)
		check(40, false)
		time.Sleep(2 * time.Second)
		check(40, true)
		p.Set(0, 70)
		check(70, true)
		p.Reset(0, n)
		check(n, true)
		if !p.Wait(t.Context(), 0, n) || p.At(0) != n {
			t.Error("the position is reached")
		}
	})
}

func TestLagInSecondsFollowsLagInEvents(t *testing.T) {
	start := time.Now()
	var l projections.Lag
	for i, step := range []struct {
		position, head uint64
		own, want      float64
	}{
		{0, 0, 0, 0}, {0, 10, 0, 0}, {0, 20, 0, 1}, {9, 30, 0, 2}, {9, 30, 9, 9}, {10, 30, 0, 0}, {29, 40, 0, 1}, {40, 40, 0, 0}, {40, 41, 0, 0}, {40, 41, 0, 1},
	} {
		s := projections.Status{Position: step.position, Head: step.head, LagEvents: step.head - step.position, LagSeconds: step.own}
		if l.Add(&s, start.Add(time.Duration(i)*time.Second)); s.LagSeconds != step.want {
			t.Errorf("step %d: %.0f s, want %.0f", i, s.LagSeconds, step.want)
		}
	}
}

// A view that is behind at the first look, as all are after an import, is so since the
// engine's start.
func TestLagAtTheFirstLook(t *testing.T) {
	start := time.Now()
	for behind, want := range map[uint64]float64{100_294: 3, 0: 0} {
		l := projections.Lag{Since: start}
		s := projections.Status{Head: behind, LagEvents: behind}
		if l.Add(&s, start.Add(3*time.Second)); s.LagSeconds != want {
			t.Errorf("%d events behind since the start: %.0f s, want %.0f", behind, s.LagSeconds, want)
		}
		s = projections.Status{Position: behind, Head: behind + 1, LagEvents: 1}
		if l.Add(&s, start.Add(4*time.Second)); s.LagSeconds != 0 {
			t.Errorf("one event later: %.0f s", s.LagSeconds)
		}
	}
}

// A store that takes a write and does not answer: the view waits, with a lag that grows.
func TestAWriteWithoutAnswerIsSaid(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.target.wrong = []func(func() error) error{func(store func() error) error {
			time.Sleep(20 * time.Second)
			return store()
		}}
		x.settle()
		x.source.send(1, 3)
		x.pass(time.Second)
		if s := x.Status(3, time.Now()); s.State != projections.Running {
			t.Errorf("after one second: %+v", s)
		}
		x.pass(9 * time.Second)
		if s := x.Status(3, time.Now()); s.State != projections.Waiting || s.Reason == "" || s.LagEvents != 3 || s.LagSeconds < 9 {
			t.Errorf("after ten seconds: %+v", s)
		}
		x.pass(15 * time.Second)
		if s := x.Status(3, time.Now()); s.State != projections.Running || s.LagEvents != 0 || s.LagSeconds != 0 {
			t.Errorf("afterwards: %+v", s)
		}
	})
}
