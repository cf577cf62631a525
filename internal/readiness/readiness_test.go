package readiness_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/internal/readiness"
)

func TestReport(t *testing.T) {
	r := readiness.New()
	level := readiness.OK
	r.Check("nats", func() (readiness.Level, string) { return level, "away" })
	for _, step := range []struct {
		do           func()
		ready, alive bool
		reasons      []string
	}{
		{func() {}, true, true, []string{}},
		{func() { r.Set("postgres", readiness.Degraded, "frozen") }, true, true, []string{"postgres: frozen"}},
		{func() { r.Set("journal", readiness.NotReady, "full") }, false, true, []string{"journal: full", "postgres: frozen"}},
		{func() { level = readiness.Failed }, false, false, []string{"nats: away", "journal: full", "postgres: frozen"}},
		{func() { r.Set("nats", readiness.OK, "") }, false, false, []string{"nats: away", "journal: full", "postgres: frozen"}},
		{func() { level = readiness.OK; r.Set("journal", readiness.OK, "") }, true, true, []string{"postgres: frozen"}},
	} {
		step.do()
		if got := r.Report(); got.Ready != step.ready || got.Alive != step.alive || !slices.Equal(got.Reasons(), step.reasons) {
			t.Errorf("got %+v, want %+v", got, step)
		}
	}
	var none *readiness.Readiness
	none.Set("x", readiness.Failed, "x")
	none.Check("x", nil)
	if got := none.Report(); !got.Ready || !got.Alive || len(got.Problems) > 0 {
		t.Errorf("%+v", got)
	}
}

// A server that answers, refuses, freezes and answers again, seen by a question that
// respects its context and by one that does not.
func TestProbe(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var mu sync.Mutex // of the two variables that the probe reads
			var answer error
			frozen, thaw := false, make(chan struct{})
			set := func(isFrozen bool, err error) {
				mu.Lock()
				defer mu.Unlock()
				frozen, answer = isFrozen, err
			}
			r := readiness.New()
			go r.Run(ctx, readiness.Probe{Component: "postgres", Level: readiness.Degraded, Ask: func(ctx context.Context) error {
				mu.Lock()
				frozen, answer := frozen, answer
				mu.Unlock()
				if frozen && deaf {
					<-thaw
				} else if frozen {
					select {
					case <-thaw:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return answer
			}})
			after := func(d time.Duration, want ...string) {
				t.Helper()
				time.Sleep(d)
				synctest.Wait()
				if got := r.Report(); !slices.Equal(got.Reasons(), append([]string{}, want...)) {
					t.Errorf("deaf %v: %q, want %q", deaf, got.Reasons(), want)
				}
			}
			after(time.Second)
			set(false, errors.New("refused"))
			after(time.Second, "postgres: refused")
			since := r.Report().Problems[0].Since
			set(true, nil)
			after(3*time.Second, "postgres: no answer within 2s")
			after(time.Minute, "postgres: no answer within 2s")
			if got := r.Report().Problems[0].Since; !got.Equal(since) {
				t.Errorf("the problem began at %s, now at %s", since, got)
			}
			set(false, nil)
			close(thaw)
			after(3 * time.Second)
		})
	}
}
