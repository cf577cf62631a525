package feeds_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// checkpoint is a view's position in the only partition: the checkpoint of the
// notifications, and a complete target for the view in front of them.
type checkpoint struct {
	mu      sync.Mutex
	at      uint64
	saveErr error // returned by Save if set
}

func (p *checkpoint) Load(context.Context, int, string) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, nil
}

func (p *checkpoint) Save(_ context.Context, _ int, from, to uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.saveErr; err != nil {
		return err
	}
	if p.at != from {
		return projections.ErrFenced
	}
	p.at = to
	return nil
}

func (p *checkpoint) Apply(ctx context.Context, partition int, from, to uint64, _ projections.Changes) error {
	return p.Save(ctx, partition, from, to)
}

// fixture is a journal, a view named durable, and the notifications that follow
// it.
type fixture struct {
	t       *testing.T
	nc      *nats.Conn
	journal *journal.Journal
	streams *feeds.Streams
	out     *nats.Conn  // of the streams
	behind  *checkpoint // of the notifications
	front   *checkpoint // of the durable view
	last    map[string]events.Record
	history *history.History // nil = the journal's
}

func newFixture(t *testing.T) *fixture {
	nc := support.Engine(t, support.NATS(t))
	x := &fixture{t: t, nc: nc, journal: openOn(t, nc), behind: &checkpoint{}, front: &checkpoint{}, last: map[string]events.Record{}}
	x.publishOn(nc)
	return x
}

func (x *fixture) publishOn(nc *nats.Conn) {
	x.t.Helper()
	s, err := feeds.NewStreams(nc, natsio.NewSubjects(""), true, harness.Log(x.t))
	if err != nil {
		x.t.Fatal(err)
	}
	x.streams, x.out = s, nc
}

// write appends the next event of a key of the agent a; an empty value deletes.
func (x *fixture) write(key, value string) uint64 {
	x.t.Helper()
	s := events.StateEntry("a", key)
	ev := events.Event{Type: events.StateSet, Aggregate: "agent", ID: "a", Key: key, Version: x.last[key].Version + 1,
		Digest: "d", Schema: events.Schema, Data: []byte(`{"value":` + value + `}`)}
	if value == "" {
		ev.Type, ev.Data = events.StateDeleted, []byte(`{}`)
	}
	at, err := x.journal.Append(x.t.Context(), history.Writes(s, x.last[key].Revision, fmt.Sprint(key, ev.Version), []events.Event{ev}))
	if err != nil {
		x.t.Fatal(err)
	}
	x.last[key] = events.Record{Event: ev, Revision: at.Revision}
	return at.Revision
}

func (x *fixture) quarantine() *natsquarantine.Store {
	x.t.Helper()
	q, err := natsquarantine.Open(x.t.Context(), x.nc, harness.Log(x.t))
	if err != nil {
		x.t.Fatal(err)
	}
	return q
}

// run runs both views as a process that has just begun, over a quarantine that
// it has not read, until stop.
func (x *fixture) run(q quarantine.Store) (behind *projections.Runner, stop func()) {
	h := history.New(x.journal, nil, 0)
	if x.history != nil {
		h = x.history
	}
	n := feeds.NewNotifications(x.streams, h, x.behind)
	gate := projections.NewGate("durable", 1, n)
	front := &projections.Runner{View: "durable", Source: h.Retained(), Target: x.front, Progress: projections.NewProgress(1),
		Batching: projections.Batching{Max: 100}, Log: harness.Log(x.t), Quarantine: q, ReadStream: h.Of, Leads: gate}
	behind = &projections.Runner{View: "notifications", Source: h.Retained(), Target: n, Progress: projections.NewProgress(1),
		Batching: projections.Batching{Max: 100}, Log: harness.Log(x.t), Quarantine: q, ReadStream: h.Of, Follows: gate}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { front.Run(ctx) })
	running.Go(func() { behind.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	x.t.Cleanup(stop)
	return behind, stop
}

// until runs the views until the notifications have reached a revision.
func (x *fixture) until(q quarantine.Store, revision uint64) {
	x.t.Helper()
	behind, stop := x.run(q)
	reach(x.t, behind, revision)
	stop()
}

func reach(t *testing.T, r *projections.Runner, revision uint64) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("the notifications reach %d", revision), func() bool { return r.Progress.At(0) >= revision })
}

// published returns the notifications in the stream, in order.
func (x *fixture) published() (all []string) {
	x.t.Helper()
	s, err := support.JetStream(x.t, x.out).Stream(x.t.Context(), "AGENT_STATE")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		x.t.Fatal(err)
	}
	for seq := max(s.CachedInfo().State.FirstSeq, 1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(x.t.Context(), seq)
		if err != nil {
			x.t.Fatal(err)
		}
		var b struct {
			Operation string `json:"operation"`
			Key       string `json:"state_key"`
			Old       any    `json:"old_value"`
			New       any    `json:"new_value"`
			Revision  int    `json:"revision"`
		}
		if err := json.Unmarshal(m.Data, &b); err != nil || m.Subject != "agents.state.a" {
			x.t.Errorf("%s: %s %v", m.Subject, m.Data, err)
		}
		if id, want := m.Header.Get(nats.MsgIdHdr), fmt.Sprintf("sql-%s-0-%d", x.journal.Incarnation(), b.Revision); id != want {
			x.t.Errorf("message id %s, want %s", id, want)
		}
		all = append(all, fmt.Sprintf("%s %s %v -> %v (%d)", b.Operation, b.Key, b.Old, b.New, b.Revision))
	}
	return all
}

func (x *fixture) want(want ...string) {
	x.t.Helper()
	if got := x.published(); !slices.Equal(got, want) {
		x.t.Errorf("published\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
