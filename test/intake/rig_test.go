// Package intake_test runs the durable intake and the reactors against a real
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
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { support.Main(m) }

// rig is a server with a journal, and a client's connection to it.
type rig struct {
	t       *testing.T
	server  *embedded.Server
	client  *nats.Conn
	js      jetstream.JetStream
	journal *natsio.Journal
}

func newRig(t *testing.T, partitions int) *rig {
	t.Helper()
	r := &rig{t: t, server: support.NATS(t)}
	r.client = support.Client(t, r.server)
	r.js = support.JetStream(t, r.client)
	var err error
	r.journal, err = natsio.OpenJournal(t.Context(), support.Engine(t, r.server), natsio.JournalConfig{Partitions: partitions})
	must(t, err)
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type handle func(ctx context.Context, req commands.Request, done func(commands.Receipt, error))

// engine is one engine's command side: what an engine process has of it.
type engine struct {
	*intake.Intake
	handler *commands.Handler
}

// start runs an engine's command side; wrap, if any, comes between.
func (r *rig) start(wrap func(handle) handle, list ...reactors.Reactor) *engine {
	r.t.Helper()
	e := &engine{handler: commands.NewHandler(r.journal, commands.Config{})}
	h := handle(e.handler.Handle)
	if wrap != nil {
		h = wrap(h)
	}
	var err error
	e.Intake, err = intake.Start(r.t.Context(), intake.Config{
		Connect: func(name string) (*nats.Conn, error) {
			return natsio.Connect(r.server.URL(), name, support.Log(r.t), r.server.Options()...)
		},
		Handle: h, Reactors: list, Journal: r.journal, Backoff: time.Millisecond, Log: support.Log(r.t),
	})
	must(r.t, err)
	return e
}

func (e *engine) close() {
	e.Close()
	e.handler.Close()
}

// prepare makes the streams, as an earlier engine has.
func (r *rig) prepare() { r.start(nil).close() }

// enqueue stores a command and returns its id.
func (r *rig) enqueue(subject, id, body string) string {
	r.t.Helper()
	if id == "" {
		id = ulid.Make().String()
	}
	_, err := r.js.Publish(r.t.Context(), subject, []byte(body), jetstream.WithMsgID(id))
	must(r.t, err)
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

// outcome waits for what came of a command.
func (r *rig) outcome(e *engine, id string) (a answer) {
	r.t.Helper()
	support.Eventually(r.t, "the outcome of "+id, func() bool {
		body, err := e.Outcome(r.t.Context(), id)
		if err != nil {
			return false
		}
		must(r.t, json.Unmarshal(body, &a))
		return true
	})
	return a
}

// history is the stream of an entry, oldest first.
func (r *rig) history(s events.Stream) (all []events.Record) {
	r.t.Helper()
	must(r.t, r.journal.Scan(r.t.Context(), s, 1, func(rec events.Record) bool {
		all = append(all, rec)
		return true
	}))
	return all
}

// drained waits until nothing waits in COMMANDS.
func (r *rig) drained() {
	r.t.Helper()
	defer r.explain()
	support.Eventually(r.t, "COMMANDS is empty", func() bool { return r.count(intake.CommandsStream) == 0 })
}

// explain shows, where a test has failed, what waits and with whom.
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
	must(r.t, err)
	return s.CachedInfo().State.Msgs
}

func (r *rig) letters() *intake.Letters {
	r.t.Helper()
	l, err := intake.OpenLetters(r.t.Context(), r.client, natsio.NewSubjects(""))
	must(r.t, err)
	return l
}

// lettersAre waits for n dead letters.
func (r *rig) lettersAre(n int) (all []intake.Letter) {
	r.t.Helper()
	l := r.letters()
	support.Eventually(r.t, fmt.Sprintf("%d dead letters", n), func() bool {
		var err error
		all, err = l.All(r.t.Context())
		must(r.t, err)
		return len(all) == n
	})
	return all
}

// calls counts what a handler was asked, by command id.
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

var errUnavailable = domain.Errorf(domain.Unavailable, "test.away", "away")
