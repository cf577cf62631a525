// Package intake_test runs the durable intake and the reactors on a NATS
// server.
package intake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// rig is a server with a journal, and a client connection.
type rig struct {
	t       *testing.T
	server  *embedded.Server
	backoff time.Duration
	client  *nats.Conn
	js      jetstream.JetStream
	journal *journal.Journal

	letterBytes int64 // room for the dead letters of a client; 0 = the default
}

func newRig(t *testing.T, partitions int) *rig {
	t.Helper()
	r := &rig{t: t, server: support.NATS(t), backoff: time.Millisecond}
	r.client = support.Engine(t, r.server) // stores commands also while no engine runs
	r.js = support.JetStream(t, r.client)
	var err error
	r.journal, err = journal.Open(t.Context(), support.Engine(t, r.server), journal.Config{Partitions: partitions})
	harness.Must(t, err)
	return r
}

// engine is the command side of one engine.
type engine struct {
	*intake.Intake
	handler *commands.Handler
}

// start runs the command side of an engine; wrap, if any, wraps its handler.
func (r *rig) start(wrap func(reactors.Send) reactors.Send, list ...reactors.Reactor) *engine {
	r.t.Helper()
	e := &engine{handler: commands.NewHandler(history.New(r.journal, nil, 0), commands.Config{})}
	send := reactors.Send(e.handler.Send)
	if wrap != nil {
		send = wrap(send)
	}
	var err error
	e.Intake, err = intake.Start(r.t.Context(), intake.Config{
		Connect: func(name string) (*nats.Conn, error) {
			return natsio.Connect(r.server.URL(), name, harness.Log(r.t), r.server.Options()...)
		},
		Identify: r.server.Authority().Caller, Dev: r.server.Authority().Dev(),
		Send: send, Reactors: list, Journal: history.New(r.journal, nil, 0), Backoff: r.backoff, DeadLetterBytes: r.letterBytes, Log: harness.Log(r.t),
	})
	harness.Must(r.t, err)
	return e
}

func (e *engine) close() {
	e.Close()
	e.handler.Close()
}

// prepare creates the streams, as an earlier engine does.
func (r *rig) prepare() { r.start(nil).close() }

// enqueue stores a command and returns its id.
func (r *rig) enqueue(subject, id, body string) string {
	r.t.Helper()
	if id == "" {
		id = ulid.Make().String()
	}
	_, err := r.js.Publish(r.t.Context(), subject, []byte(body), jetstream.WithMsgID(id))
	harness.Must(r.t, err)
	return id
}

// answer is an outcome: a receipt or an error.
type answer struct {
	CommandID string `json:"command_id"`
	Outcome   string
	Version   uint64
	Revision  uint64
	Replayed  bool
	Error     *struct {
		Kind, Code, Message string
		Status              int
	}
}

// outcome waits for the outcome of a command.
func (r *rig) outcome(e *engine, id string) (a answer) {
	r.t.Helper()
	harness.Eventually(r.t, "the outcome of "+id, func() bool {
		body, err := e.Outcome(r.t.Context(), id)
		if err != nil {
			return false
		}
		harness.Must(r.t, json.Unmarshal(body, &a))
		return true
	})
	return a
}

// history returns the events of an entry, oldest first.
func (r *rig) history(s events.AggregateName) (all []events.Record) {
	r.t.Helper()
	harness.Must(r.t, history.New(r.journal, nil, 0).Since(r.t.Context(), s, time.Unix(0, 0), func(rec events.Record) bool {
		all = append(all, rec)
		return true
	}))
	return all
}

// drained waits until COMMANDS is empty.
func (r *rig) drained() {
	r.t.Helper()
	defer r.explain()
	harness.Eventually(r.t, "COMMANDS is empty", func() bool { return r.count(intake.CommandsStream) == 0 })
}

// explain logs, for a failed test, the messages and consumers of COMMANDS.
func (r *rig) explain() {
	if !r.t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := r.js.Stream(ctx, intake.CommandsStream)
	if err != nil {
		r.t.Log(err)
		return
	}
	r.t.Logf("COMMANDS: %+v", s.CachedInfo().State)
	for info := range s.ListConsumers(ctx).Info() {
		if info.NumPending > 0 || info.NumAckPending > 0 {
			r.t.Logf("%s: delivered %+v, floor %+v, %d pending, %d unacknowledged, %d delivered again, %d waiting",
				info.Name, info.Delivered, info.AckFloor, info.NumPending, info.NumAckPending, info.NumRedelivered, info.NumWaiting)
		}
	}
}

func (r *rig) count(stream string) uint64 {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), stream)
	harness.Must(r.t, err)
	return s.CachedInfo().State.Msgs
}

func (r *rig) deadLetters() *intake.DeadLetters {
	r.t.Helper()
	l, err := intake.OpenDeadLetters(r.t.Context(), r.client, natsio.NewSubjects(""))
	harness.Must(r.t, err)
	return l
}

// account is the account of the principal that sent the command of a dead letter.
func (r *rig) account(letter uint64) string {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), intake.DeadLettersStream)
	harness.Must(r.t, err)
	m, err := s.GetMsg(r.t.Context(), letter)
	harness.Must(r.t, err)
	return m.Header.Get("Tidemark-Account")
}

// awaitDeadLetters waits for n dead letters.
func (r *rig) awaitDeadLetters(n int) (all []intake.DeadLetter) {
	r.t.Helper()
	l := r.deadLetters()
	harness.Eventually(r.t, fmt.Sprintf("%d dead letters", n), func() bool {
		var err error
		all, err = l.All(r.t.Context())
		harness.Must(r.t, err)
		return len(all) == n
	})
	return all
}

// calls counts how often a handler received each command id.
type calls struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *calls) add(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[id]++
	return c.n[id]
}

var errUnavailable = domain.Errorf(domain.Unavailable, "test.unavailable", "unavailable")
