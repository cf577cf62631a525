package service_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/natsio/service"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// crowd is a service whose handlers block until release, and two clients of it.
type crowd struct {
	t             *testing.T
	service       *service.Service
	release       chan struct{}
	greedy, other *nats.Conn
	replies       chan *nats.Msg // to the greedy client
	inbox         string
}

func newCrowd(t *testing.T, limits service.Limits) *crowd {
	t.Helper()
	server := support.NATS(t)
	c := &crowd{t: t, release: make(chan struct{}), replies: make(chan *nats.Msg, 10_000)}
	var err error
	c.service, err = service.Serve(support.Engine(t, server), service.Config{
		Version: "1.0.0", Identify: server.Authority().Caller, Disconnect: server.Disconnect, Observe: func(string, string, time.Duration) {}, Log: harness.Log(t), Limits: limits,
		Commands: func(_ context.Context, _ commands.Request, done func(commands.Receipt, error)) {
			go func() { <-c.release; done(commands.Receipt{Outcome: "accepted"}, nil) }()
		},
		Batch: func(_ context.Context, _ string, _ []byte, _ func(string) string, done func([]commands.Result, error)) {
			go func() { <-c.release; done(nil, nil) }()
		},
		Queries: func(ctx context.Context, tokens []string, _ []byte) ([]byte, error) {
			switch tokens[0] {
			case "wait":
				if err := wait.Idle(ctx, func(ctx context.Context) {
					select {
					case <-c.release:
					case <-ctx.Done():
					}
				}); err != nil {
					return nil, err
				}
			case "work":
				<-c.release
			}
			return []byte("1"), nil
		},
	})
	harness.Must(t, err)
	c.greedy, c.other = support.Client(t, server), support.Client(t, server)
	c.inbox = c.greedy.NewRespInbox()
	_, err = c.greedy.ChanSubscribe(c.inbox, c.replies)
	harness.Must(t, err)
	return c
}

func (c *crowd) ask(n int, subject string, body []byte) {
	c.t.Helper()
	for range n {
		harness.Must(c.t, c.greedy.PublishRequest(subject, c.inbox, body))
	}
	harness.Must(c.t, c.greedy.Flush())
}

// refused receives n replies, all with this status.
func (c *crowd) refused(n int, status string) {
	c.t.Helper()
	for i := range n {
		m := harness.Receive(c.t, "a refusal", c.replies)
		if m.Header.Get(micro.ErrorCodeHeader) != status || status == "429" && !strings.Contains(string(m.Data), "retry_after_ms") {
			c.t.Fatalf("the %d. of %d: %v %s", i, n, m.Header, m.Data)
		}
	}
}

// answered is the status of another client's request; empty for success.
func (c *crowd) answered(subject string) string {
	c.t.Helper()
	m, err := c.other.Request(subject, nil, requestTimeout)
	harness.Must(c.t, err)
	return m.Header.Get(micro.ErrorCodeHeader)
}

func (c *crowd) done(n int) {
	c.t.Helper()
	close(c.release)
	c.refused(n, "")
	harness.Must(c.t, c.service.Stop())
}

// One client holds at most half of the places; another one is still answered.
func TestOneClientCannotTakeAllPlaces(t *testing.T) {
	limits := service.Limits{Queries: 20, Commands: 40, Waiting: 60}
	for _, x := range []struct {
		subject, other string
		places         int
	}{
		{"queries.work", "queries.quick", 10},
		{"queries.wait", "queries.quick", 30},
		{"commands.a.b.c", "queries.quick", 20},
		{"commands.batch", "queries.quick", 20},
	} {
		c := newCrowd(t, limits)
		if x.subject == "queries.wait" { // those at work must have begun to wait, else they are refused
			for n := range x.places {
				c.ask(1, x.subject, nil)
				c.service.AwaitWaiting(t, n+1)
			}
		} else {
			c.ask(x.places, x.subject, nil)
		}
		c.ask(25, x.subject, nil)
		c.refused(25, "429")
		if status := c.answered(x.other); status != "" {
			t.Errorf("%s: another client is answered with %s", x.subject, status)
		}
		c.done(x.places)
	}
}

// Queries that wait for a token leave their places to those that work, and end with the
// service.
func TestWaitsHoldNoPlaces(t *testing.T) {
	c := newCrowd(t, service.Limits{Queries: 8, Waiting: 400})
	for n := 0; n < 160; n += 4 {
		c.ask(4, "queries.wait", nil)
		c.service.AwaitWaiting(t, n+4)
	}
	for range 20 {
		if status := c.answered("queries.quick"); status != "" {
			t.Fatalf("a query that needs no wait: %s", status)
		}
	}
	harness.Must(t, c.service.Stop())
	c.refused(160, "")
}

// Bytes are counted before anything is read.
func TestBytesAreBounded(t *testing.T) {
	c := newCrowd(t, service.Limits{CommandBytes: 64 << 20, QueryBytes: 1 << 20})
	c.ask(3, "queries.quick", make([]byte, 70<<10))
	c.refused(3, "413")
	c.ask(4, "queries.work", make([]byte, 60<<10)) // 61 KiB each, of 256
	c.ask(2, "queries.work", make([]byte, 60<<10))
	c.refused(2, "429")
	c.ask(3, "commands.batch", make([]byte, 5<<20)) // of 16 MiB
	c.ask(2, "commands.batch", make([]byte, 5<<20))
	c.refused(2, "429")
	c.ask(2, "commands.a.b.c", make([]byte, 2<<20))
	c.refused(2, "429")
	if status := c.answered("queries.quick"); status != "" {
		t.Errorf("another client is answered with %s", status)
	}
	c.done(7)
}

// The statistics count answers, not handlers: errors, and the time to the answer.
func TestStatisticsAreReal(t *testing.T) {
	s := serve(t, "")
	const good, bad = 5, 3
	for i := range good + bad {
		body := `{"key":"k","value":1,"strategy":"last_write_wins"}`
		if i >= good {
			body = `nonsense`
		}
		s.request("commands.agent.a1.set", body)
	}
	s.request("queries.agent.a1.get", "")
	s.request("queries.broken.x.y", "")
	harness.Eventually(t, "the statistics", func() bool { // the last is counted after its reply
		var stats micro.Stats
		harness.Must(t, json.Unmarshal(s.request("$SRV.STATS.tidemark", "").Data, &stats))
		seen := map[string]*micro.EndpointStats{}
		for _, e := range stats.Endpoints {
			seen[e.Name] = e
		}
		c, q := seen["commands"], seen["queries"]
		return c != nil && q != nil && c.NumRequests == good+bad && c.NumErrors == bad && strings.HasPrefix(c.LastError, "400:") &&
			c.AverageProcessingTime == c.ProcessingTime/(good+bad) && c.ProcessingTime > 0 && q.NumRequests == 2 && q.NumErrors == 1
	})
	took := 50 * time.Millisecond
	slow := newCrowd(t, service.Limits{})
	slow.ask(1, "queries.work", nil)
	time.AfterFunc(took, func() { close(slow.release) })
	slow.refused(1, "")
	harness.Eventually(t, "the time to the answer", func() bool {
		m, err := slow.other.Request("$SRV.STATS.tidemark", nil, requestTimeout)
		harness.Must(t, err)
		var stats micro.Stats
		harness.Must(t, json.Unmarshal(m.Data, &stats))
		for _, e := range stats.Endpoints {
			if e.Name == "queries" {
				return e.NumRequests == 1 && e.ProcessingTime >= took/2
			}
		}
		return false
	})
	harness.Must(t, slow.service.Stop())
}

// A client that goes on sending what is refused loses its connection, and connects again; a
// client whose requests are refused now and then does not.
func TestFloodsEndTheirConnection(t *testing.T) {
	c := newCrowd(t, service.Limits{Commands: 10, CommandBytes: 1 << 20})
	defer func() {
		close(c.release)
		harness.Must(t, c.service.Stop())
	}()
	large := []byte(`{"key":"k","value":"` + strings.Repeat("v", 100<<10) + `"}`)
	c.ask(40, "commands.agent.a1.set", large)
	c.refused(30, "429")
	c.ask(10, "commands.batch", make([]byte, 6<<20)) // a burst of a few large ones
	c.refused(10, "429")
	if n := c.greedy.Stats().Reconnects; n > 0 {
		t.Error("the connection was closed after 40 refusals")
	}
	harness.Eventually(t, "the flood ends its connection", func() bool {
		for range 20 {
			if c.greedy.PublishRequest("commands.agent.a1.set", c.inbox, large) != nil {
				break
			}
		}
		return c.greedy.Stats().Reconnects > 0
	})
	if n := c.other.Stats().Reconnects; n > 0 {
		t.Error("the connection of another client was closed")
	}
}
