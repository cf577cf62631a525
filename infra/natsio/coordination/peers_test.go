package coordination_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// peer is an engine that other engines ask.
type peer struct {
	*coordination.Peers
	nc      *nats.Conn
	stop    context.CancelFunc
	done    sync.WaitGroup
	asked   chan string
	unknown atomic.Bool // its answer
}

// TestPeers: engines ask all others, also one that has just started; one that stops or does
// not answer is asked no more.
func TestPeers(t *testing.T) {
	t.Parallel()
	server := support.NATS(t)
	join := func() *peer {
		p := &peer{nc: support.Engine(t, server), asked: make(chan string, 100)}
		var err error
		p.Peers, err = coordination.StartPeers(p.nc, natsio.NewSubjects("x."), func(_ context.Context, message string) bool {
			p.asked <- message
			return !p.unknown.Load()
		})
		harness.Must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		p.stop = cancel
		p.done.Go(func() { p.Run(ctx) })
		t.Cleanup(func() { cancel(); p.done.Wait() })
		return p
	}
	a := join()
	if a.Any() {
		t.Error("an engine that is alone knows another one")
	}
	harness.Must(t, a.Withdraw(t.Context(), "m0"))
	b, c := join(), join()
	harness.Eventually(t, "a knows of the others", a.Any)
	harness.Eventually(t, "c, which started last, asks both", func() bool {
		if err := c.Withdraw(t.Context(), "m1"); err != nil {
			t.Fatal(err)
		}
		return len(a.asked) > 0 && len(b.asked) > 0 && <-a.asked == "m1" && <-b.asked == "m1"
	})

	b.unknown.Store(true)
	if err := c.Withdraw(t.Context(), "m2"); err == nil {
		t.Error("b does not know the outcome of its append, and c goes on")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Withdraw(ended, "m3"); err == nil {
		t.Error("no error after the end of the context")
	}

	b.stop()
	b.done.Wait()
	harness.Must(t, c.Withdraw(t.Context(), "m4"))

	a.nc.Close() // as one that was killed
	start := time.Now()
	harness.Must(t, c.Withdraw(t.Context(), "m5"))
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("c waits %s for an engine that may be frozen", took)
	}
	if c.Any() {
		t.Error("c still knows an engine that did not answer")
	}
	harness.Must(t, c.Withdraw(t.Context(), "m6"))
}
