package service_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tidemark-engine/tidemark/infra/natsio/service"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// refuser is a service that refuses every request with 403, and a client of it. The
// goroutine that publishes refusals stands still behind its first one until release.
type refuser struct {
	t        *testing.T
	service  *service.Service
	standing chan struct{} // receives when the goroutine stands still
	release  func()
	observed atomic.Int64 // answered requests

	client *nats.Conn
	inbox  string
	asked  int

	mu       sync.Mutex
	answered []int // the numbers of the requests, as their refusals arrive
}

func newRefuser(t *testing.T) *refuser {
	t.Helper()
	server := support.NATS(t)
	gate := make(chan struct{})
	r := &refuser{t: t, standing: make(chan struct{}, 1), release: sync.OnceFunc(func() { close(gate) })}
	var err error
	r.service, err = service.Serve(support.Engine(t, server), service.Config{
		Version: "1.0.0", Log: harness.Log(t),
		Identify: func(string) *identity.Caller { return nil },
		Observe: func(string, string, time.Duration) {
			if r.observed.Add(1) == 1 {
				r.standing <- struct{}{}
				<-gate
			}
		},
	})
	harness.Must(t, err)
	t.Cleanup(func() { r.release(); _ = r.service.Stop() }) // a second call is harmless
	r.client = support.Client(t, server)
	r.inbox = r.client.NewInbox()
	_, err = r.client.Subscribe(r.inbox+".*", func(m *nats.Msg) {
		n, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		if err != nil || m.Header.Get(micro.ErrorCodeHeader) != "403" {
			t.Errorf("%s: %v %s", m.Subject, m.Header, m.Data)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.answered = append(r.answered, n)
	})
	harness.Must(t, err)
	return r
}

// ask sends n requests; their numbers go on from those before.
func (r *refuser) ask(n int) {
	r.t.Helper()
	for range n {
		harness.Must(r.t, r.client.PublishRequest("commands.agent.a1.set", r.inbox+"."+strconv.Itoa(r.asked), nil))
		r.asked++
	}
	harness.Must(r.t, r.client.Flush())
}

// stand sends the request at whose refusal the goroutine stands still.
func (r *refuser) stand() {
	r.t.Helper()
	r.ask(1)
	harness.Receive(r.t, "the first refusal", r.standing)
}

// await waits until the refusals of these requests have arrived, in this order.
func (r *refuser) await(want []int) {
	r.t.Helper()
	harness.Eventually(r.t, "the refusals", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := len(r.answered); n < len(want) {
			return fmt.Errorf("%d of %d have arrived, after %d reconnects", n, len(want), r.client.Stats().Reconnects)
		}
		return nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.answered, want) {
		for i, n := range r.answered {
			if i >= len(want) || n != want[i] {
				r.t.Fatalf("of %d refusals the %dth is of request %d; of %d requests", len(r.answered), i, n, r.asked)
			}
		}
	}
}

func numbers(from, below int) (all []int) {
	for n := from; n < below; n++ {
		all = append(all, n)
	}
	return all
}

// Refusals that wait keep their order. One that finds no room is answered at once, by the
// goroutine that takes the requests. None is lost.
func TestRefusalsWaitInOrder(t *testing.T) {
	r := newRefuser(t)
	r.stand()
	for n := 1024; n <= service.MaxRefusals; n += 1024 { // more at once would be a flood to the server
		r.ask(1024)
		r.service.AwaitRefusals(t, n)
	}
	r.ask(50)
	beyond := append(numbers(0, 1), numbers(service.MaxRefusals+1, r.asked)...)
	r.await(beyond)
	r.release()
	r.await(append(beyond, numbers(1, service.MaxRefusals+1)...))
	harness.Must(t, r.service.Stop())
	if n := r.observed.Load(); n != int64(r.asked) {
		t.Errorf("%d of %d requests were observed", n, r.asked)
	}
}

// Stop returns when every refusal that waits is answered.
func TestStopAnswersRefusals(t *testing.T) {
	r := newRefuser(t)
	r.stand()
	r.ask(500)
	r.service.AwaitRefusals(t, 500)
	stopped := make(chan error, 1)
	go func() { stopped <- r.service.Stop() }()
	r.service.AwaitStopping(t)
	r.release()
	harness.Must(t, harness.Receive(t, "the end of the service", stopped))
	if n := r.observed.Load(); n != int64(r.asked) {
		t.Errorf("the service has stopped after %d of %d refusals", n, r.asked)
	}
	r.await(numbers(0, r.asked))
}
