package query

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// At most maxPages are made at a time; those that wait for a token are not among them.
func TestPagesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q turns
		var working, most, done atomic.Int64
		for i := range 10 * maxPages {
			go func() {
				ctx, leave, err := q.take(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer leave()
				work := func() {
					n := working.Add(1)
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
					time.Sleep(time.Second)
					working.Add(-1)
				}
				if i%2 == 0 {
					_ = wait.Idle(ctx, func(context.Context) { time.Sleep(time.Hour) })
				}
				work()
				done.Add(1)
			}()
		}
		time.Sleep(20 * time.Second)
		if n := done.Load(); n != 5*maxPages {
			t.Errorf("%d pages are made, although those that wait hold no turn", n)
		}
		time.Sleep(2 * time.Hour)
		if most.Load() != maxPages || done.Load() != 10*maxPages {
			t.Errorf("%d at a time, %d done", most.Load(), done.Load())
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range maxPages {
			if _, _, err := q.take(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := q.take(short); err == nil {
			t.Error("there is no turn")
		}
	})
}

// A principal that asks for many pages at once makes others wait for no more than one of its
// own, also where other greedy ones take all turns.
func TestTurnsOfPrincipals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pages := &turns{}
		of := func(name string) context.Context {
			return identity.With(t.Context(), &identity.Caller{Principal: name})
		}
		page := func(ctx context.Context, took time.Duration) {
			_, leave, err := pages.take(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(took)
			leave()
		}
		for _, greedy := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			for range 100 {
				go page(of(greedy), time.Minute)
			}
			synctest.Wait()
		}
		began := time.Now()
		page(of("honest"), time.Second)
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("a page beside greedy principals took %s", took)
		}
		gone, cancel := context.WithTimeout(of("a"), time.Second)
		defer cancel()
		if _, _, err := pages.take(gone); err == nil {
			t.Error("a wait that has ended got a turn")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for range maxPages { // without principals all turns are for all
			_, leave, err := pages.take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
		}
	})
}
