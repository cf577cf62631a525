package projections_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// source is an in-memory journal for tests of the runner's own logic; test/views uses real ones.
type source struct {
	mu      sync.Mutex
	head    uint64
	reads   []uint64             // the position each reader began at
	out     chan history.Message // of the last reader
	stopped int
	headErr error
	log     []history.Message // all that was sent
}

func (s *source) Partitions() int { return 1 }
func (s *source) ID() string      { return "journal" }

func (s *source) DigestAt(context.Context, int, uint64) (string, bool, error) { return "", false, nil }

func (s *source) Trimmed(context.Context, int) (uint64, time.Time, error) {
	return 0, time.Time{}, nil
}

func (s *source) Head(context.Context, int) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.headErr
}

func (s *source) Read(_ context.Context, _ int, after uint64) (history.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, after)
	s.out = make(chan history.Message, 1000)
	return &reader{s, s.out}, nil
}

type reader struct {
	s   *source
	out chan history.Message
}

// Messages waits while messages are sent, so that a batch has all of them.
func (r *reader) Messages() <-chan history.Message {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.out
}
func (r *reader) Err() error { return fmt.Errorf("the reader failed") }

func (r *reader) Stop() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.stopped++
}

// send delivers events for the revisions from up to to, at once.
func (s *source) send(from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := from; r <= to; r++ {
		s.deliver(event(fmt.Sprint("k", r), r))
	}
}

// event is a write of an entry.
func event(key string, revision uint64) history.Message {
	return history.Message{Record: events.Record{
		Name: events.StateEntry("a", key), Revision: revision,
		Event: events.Event{
			Type: events.StateSet, ID: "a", Key: key, Version: 1, RecordedAt: time.Now(),
			Data: (&events.StateWrite{Value: []byte(`1`)}).Encode(),
		},
	}}
}

func (s *source) put(m history.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver(m)
}

func (s *source) deliver(m history.Message) {
	s.out <- m // has room
	s.log = append(s.log, m)
	s.head = max(s.head, m.Revision)
}

func (s *source) Stream(_ context.Context, of events.AggregateName, after, upTo uint64, yield func(history.Message) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.log {
		if m.Name == of && m.Revision > after && m.Revision <= upTo {
			if err := yield(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// target is an in-memory view.
type target struct {
	mu          sync.Mutex
	position    uint64
	batches     []batch
	loadErr     error
	wrong       []func(store func() error) error // faults of the next applies
	alive       bool                             // the context of the last apply was not cancelled
	refuses     func(e *readmodel.EntryChange) bool
	rows        map[string]uint64 // revision by key
	quarantined map[uint64]string // reason by revision of a quarantined event
}

type batch struct {
	from, to uint64
	at       time.Duration // since the test began
	rows     int
}

func (v *target) Load(_ context.Context, _ int, _ string) (uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.position, v.loadErr
}

func (v *target) Apply(ctx context.Context, _ int, from, to uint64, c projections.Changes) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.alive = ctx.Err() == nil
	store := func() error {
		if from != v.position {
			return projections.ErrFenced
		}
		for i := range c.Entries {
			if v.refuses != nil && v.refuses(&c.Entries[i]) {
				return fmt.Errorf("write rows: %w", projections.Unappliable(fmt.Errorf("no %s here", c.Entries[i].Key)))
			}
		}
		v.keep(&c)
		if from == to {
			return nil // a retry
		}
		v.position = to
		v.batches = append(v.batches, batch{from, to, time.Since(began), len(c.Entries)})
		return nil
	}
	if len(v.wrong) == 0 {
		return store()
	}
	wrong := v.wrong[0]
	v.wrong = v.wrong[1:]
	return wrong(store)
}

func (v *target) keep(c *projections.Changes) {
	if v.rows == nil {
		v.rows, v.quarantined = map[string]uint64{}, map[uint64]string{}
	}
	for i := range c.Entries {
		v.rows[c.Entries[i].Key] = c.Entries[i].Revision
	}
	for i := range c.Quarantined {
		v.quarantined[c.Quarantined[i].Revision] = c.Quarantined[i].Bad.Error()
	}
	for _, r := range c.Released {
		maps.DeleteFunc(v.quarantined, func(at uint64, _ string) bool { return at <= r.UpTo })
	}
}

// fakeQuarantine is an in-memory quarantine of a view with one partition.
type fakeQuarantine struct {
	mu      sync.Mutex
	held    map[events.AggregateName]quarantine.Entry
	asked   map[events.AggregateName]string
	changed chan struct{}
	puts    int
	err     error
}

func newPaperQuarantine() *fakeQuarantine {
	return &fakeQuarantine{held: map[events.AggregateName]quarantine.Entry{}, asked: map[events.AggregateName]string{}, changed: make(chan struct{})}
}

func (q *fakeQuarantine) Entries(context.Context, string, int) ([]quarantine.Entry, error) {
	return q.Cached("", 0), q.err
}

func (q *fakeQuarantine) Cached(string, int) (all []quarantine.Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for s, h := range q.held {
		h.Request = q.asked[s]
		all = append(all, h)
	}
	return all
}

func (q *fakeQuarantine) Put(_ context.Context, h quarantine.Entry) error {
	return q.change(func() { q.puts++; q.held[h.Stream] = h })
}

func (q *fakeQuarantine) Remove(_ context.Context, h quarantine.Entry) error {
	return q.change(func() { delete(q.held, h.Stream) })
}

func (q *fakeQuarantine) Done(_ context.Context, h quarantine.Entry) error {
	return q.change(func() { delete(q.asked, h.Stream) })
}

func (q *fakeQuarantine) ask(key, what string) {
	_ = q.change(func() { q.asked[events.StateEntry("a", key)] = what })
}

func (q *fakeQuarantine) change(f func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	f()
	close(q.changed)
	q.changed = make(chan struct{})
	return nil
}

func (q *fakeQuarantine) Changed() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed
}

// began is the start time of every synctest bubble.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// bench is a runner in a synctest bubble.
type bench struct {
	*projections.Runner
	source *source
	target *target
	held   *fakeQuarantine
	start  func() // starts the runner, at the first settle or pass
	stop   context.CancelFunc
	ended  chan struct{}
}

func onBench(t *testing.T, b projections.Batching, test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		x := &bench{source: &source{}, target: &target{}, stop: stop, ended: make(chan struct{})}
		x.held = newPaperQuarantine()
		x.Runner = &projections.Runner{
			View: "view", Source: x.source, Target: x.target, Batching: b, Progress: projections.NewProgress(1), Log: slog.New(slog.DiscardHandler),
			Quarantine: x.held, ReadStream: x.source.Stream,
		}
		x.start = sync.OnceFunc(func() {
			go func() {
				defer close(x.ended)
				x.Run(ctx)
			}()
		})
		test(x)
		stop()
		<-x.ended
		if n := len(x.source.reads); x.source.stopped != n {
			t.Errorf("%d readers, %d stopped", n, x.source.stopped)
		}
	})
}

// settle waits until every goroutine is blocked, which takes no time.
func (x *bench) settle() {
	x.start()
	synctest.Wait()
}

// pass advances the bubble's clock.
func (x *bench) pass(d time.Duration) {
	x.start()
	<-time.After(d)
	synctest.Wait()
}
