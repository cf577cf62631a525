package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// grown returns a journal of one partition with n events, and JetStream on its
// server.
func grown(t *testing.T, n int) (*journal.Journal, jetstream.JetStream) {
	t.Helper()
	nc := support.Engine(t, support.NATS(t))
	j, err := journal.Open(t.Context(), nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	grow(t, j, 1, n)
	return j, support.JetStream(t, nc)
}

// grow appends the events with revisions from to to.
func grow(t *testing.T, j *journal.Journal, from, to int) {
	t.Helper()
	for r := from; r <= to; {
		var evs []events.Event
		key := fmt.Sprint("k", r)
		for ; r <= to && len(evs) < 500; r++ {
			evs = append(evs, events.Event{
				Type: events.StateSet, Aggregate: "agent", ID: "a", Key: key, Version: uint64(len(evs) + 1), Digest: "d", Schema: 1,
				Data: (&events.StateWrite{Value: fmt.Append(nil, r)}).Encode(),
			})
		}
		if _, err := j.Append(t.Context(), history.Writes(events.StateEntry("a", key), 0, fmt.Sprint("r", r), evs)); err != nil {
			t.Fatal(err)
		}
	}
}

// reader is a journal, read directly or through the shared reader.
type reader interface {
	Read(ctx context.Context, partition int, after uint64) (history.Cursor, error)
}

func read(t *testing.T, j reader, after uint64) history.Cursor {
	t.Helper()
	c, err := j.Read(t.Context(), 0, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

func TestReadFollowsInOrderAndWithoutGaps(t *testing.T) {
	j, _ := grown(t, 2500)
	t.Run("direct", func(t *testing.T) { readFollows(t, j, j, 2500) })
	t.Run("shared", func(t *testing.T) { readFollows(t, j, history.New(j, nil, 0).Retained(), 2519) })
}

func readFollows(t *testing.T, j *journal.Journal, s reader, end uint64) {
	for _, after := range []uint64{0, 1, 1234, end - 1, end} {
		c := read(t, s, after)
		for r := after + 1; r <= end; r++ {
			if m := harness.Receive(t, "an event", c.Messages()); m.Revision != r || m.Bad != nil || !strings.Contains(string(m.Data), fmt.Sprintf(`"value":%d,`, r)) || string(m.Body) != string(m.Encode()) {
				t.Fatalf("after %d: the event at %d is %+v", after, r, m)
			}
		}
		select {
		case m := <-c.Messages():
			t.Errorf("after the end: %+v", m)
		default:
		}
		c.Stop()
		c.Stop() // harmless
	}
	c := read(t, s, end)
	for r := int(end) + 1; r < int(end)+20; r++ { // live
		grow(t, j, r, r)
		if m := harness.Receive(t, "a live event", c.Messages()); m.Revision != uint64(r) {
			t.Fatalf("%d is %+v", r, m)
		}
	}
	if head, err := j.Head(t.Context(), 0); err != nil || head != end+19 {
		t.Errorf("the head is %d, %v", head, err)
	}
}

// TestReadersDeleteTheirConsumers: the server limits the consumers of a stream, and
// the client library leaves an ordered consumer on the server for minutes.
func TestReadersDeleteTheirConsumers(t *testing.T) {
	j, js := grown(t, 10)
	c := read(t, j, 0)
	for range 10 {
		harness.Receive(t, "an event", c.Messages())
	}
	s, err := js.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	if n := s.CachedInfo().State.Consumers; n != 1 {
		t.Errorf("%d consumers while reading", n)
	}
	c.Stop()
	_, err = j.FirstSince(t.Context(), 0, time.Now().Add(-time.Hour))
	harness.Must(t, err)
	info, err := s.Info(t.Context())
	harness.Must(t, err)
	if n := info.State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}

func TestStopWithAFullBuffer(t *testing.T) {
	j, _ := grown(t, 2500)
	for _, s := range []reader{j, history.New(j, nil, 0).Retained()} {
		c := read(t, s, 0)
		harness.Receive(t, "an event", c.Messages())
		c.Stop() // while the buffer is full
	}
}

func TestReadReportsInvalidEvents(t *testing.T) {
	j, js := grown(t, 1)
	elsewhere, err := history.New(j, nil, 0).At(t.Context(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{[]byte("torn"), elsewhere.Encode()} { // an event under another aggregate's subject is invalid
		if _, err := js.Publish(t.Context(), support.Intake(t, js.Conn(), "EVENTS")+"agent.a.state.k.l", body); err != nil {
			t.Fatal(err)
		}
	}
	grow(t, j, 4, 4)
	c := read(t, j, 0)
	for r := uint64(1); r <= 4; r++ {
		bad := r == 2 || r == 3
		m := harness.Receive(t, "an event", c.Messages())
		if m.Revision != r || (m.Bad != nil) != bad {
			t.Fatalf("%d is %+v", r, m)
		}
		if bad && m.Name != "agent.a.state.k.l" {
			t.Errorf("the invalid event has the stream %q", m.Name)
		}
	}
}

// TestReadStopsAtAGap checks that a reader reports missing events and does not skip
// them.
func TestReadStopsAtAGap(t *testing.T) {
	j, js := grown(t, 10)
	stream, err := js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(6)); err != nil {
		t.Fatal(err)
	}
	readStops(t, j)
	readStops(t, history.New(j, nil, 0).Retained())
}

func readStops(t *testing.T, j reader) {
	c := read(t, j, 5)
	for r := uint64(6); r <= 10; r++ {
		if m := harness.Receive(t, "an event", c.Messages()); m.Revision != r {
			t.Fatalf("%d is %+v", r, m)
		}
	}
	for after := range uint64(5) {
		c := read(t, j, after)
		ended := make(chan bool, 1)
		go func() {
			m, open := <-c.Messages()
			if open {
				t.Errorf("received %[2]d after %[1]d", after, m.Revision)
			}
			ended <- true
		}()
		harness.Receive(t, "the reader's end", ended)
		if err := c.Err(); !errors.Is(err, history.ErrForeignJournal) || !strings.Contains(err.Error(), fmt.Sprintf("%d to 5", after+1)) {
			t.Errorf("after %d: %v", after, err)
		}
		c.Stop()
	}
}

// TestASlowReaderDoesNotBlockOthers stops one reader until it lags by more than the
// fan-out keeps. The other reader continues, and the slow one misses no event.
func TestASlowReaderDoesNotBlockOthers(t *testing.T) {
	j, _ := grown(t, 10)
	s := history.New(j, nil, 0).Retained()
	slow, fast := read(t, s, 0), read(t, s, 10)
	harness.Receive(t, "an event", slow.Messages())
	const end = 6000
	grow(t, j, 11, end)
	follow := func(c history.Cursor, from uint64) {
		for r := from; r <= end; r++ {
			if m := harness.Receive(t, "an event", c.Messages()); m.Revision != r {
				t.Fatalf("%d is %+v", r, m)
			}
		}
	}
	follow(fast, 11)
	follow(slow, 2)
	grow(t, j, end+1, end+1)
	for _, c := range []history.Cursor{slow, fast} {
		if m := harness.Receive(t, "a live event", c.Messages()); m.Revision != end+1 {
			t.Errorf("%d is %+v", end+1, m)
		}
	}
}

func TestFirstSince(t *testing.T) {
	j, _ := grown(t, 0)
	if at, err := j.FirstSince(t.Context(), 0, time.Now()); err != nil || at != 0 {
		t.Errorf("an empty journal: %d, %v", at, err)
	}
	grow(t, j, 1, 3)
	between := time.Now()
	grow(t, j, 4, 6)
	for from, want := range map[time.Time]uint64{between.Add(-time.Hour): 0, between: 3, time.Now().Add(time.Hour): 6} {
		if at, err := j.FirstSince(t.Context(), 0, from); err != nil || at != want {
			t.Errorf("since %s: %d, %v; want %d", from, at, err, want)
		}
	}
}

func TestRawRanges(t *testing.T) {
	j, _ := grown(t, 10)
	between := time.Now()
	grow(t, j, 11, 20)
	for _, c := range []struct {
		journal.RawRange
		from, to uint64
	}{
		{journal.RawRange{}, 1, 20},
		{journal.RawRange{FromRevision: 5, ToRevision: 7}, 5, 7},
		{journal.RawRange{FromRevision: 18, ToRevision: 99}, 18, 20},
		{journal.RawRange{FromRevision: 21}, 1, 0},
		{journal.RawRange{FromTime: between}, 11, 20},
		{journal.RawRange{ToTime: between}, 1, 10},
		{journal.RawRange{FromTime: time.Now().Add(time.Hour)}, 1, 0},
		{journal.RawRange{Subject: "events.agent.a.state.k3"}, 1, 0},
		{journal.RawRange{Subject: "events.agent.>", FromRevision: 15}, 15, 20},
	} {
		next := c.from
		err := j.Raw(t.Context(), 0, c.RawRange, func(_ jetstream.Msg, revision uint64) error {
			if revision != next {
				t.Errorf("%+v: %d, want %d", c.RawRange, revision, next)
			}
			next++
			return nil
		})
		if err != nil || next != c.to+1 {
			t.Errorf("%+v ended before %d: %v", c.RawRange, next, err)
		}
	}
	stop := errors.New("stop")
	if err := j.Raw(t.Context(), 0, journal.RawRange{}, func(jetstream.Msg, uint64) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestASlowReaderOfLargeEventsLosesNone: the buffer of a slow reader has few large
// events, and the client library drops none. Every event arrives once, in order.
func TestASlowReaderOfLargeEventsLosesNone(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	var dropped atomic.Int64
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		t.Log(err)
		dropped.Add(1)
	})
	j, err := journal.Open(t.Context(), nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	const size, n = 250_000, 500 // twice what the client library keeps
	value := []byte(`"` + strings.Repeat("x", size) + `"`)
	for r := range n {
		s := events.StateEntry("a", fmt.Sprint("k", r))
		ev := events.Event{
			Type: events.StateSet, Aggregate: "agent", ID: "a", Key: fmt.Sprint("k", r), Version: 1, Digest: "d", Schema: 1,
			Data: (&events.StateWrite{Value: value}).Encode(),
		}
		if _, err := j.Append(t.Context(), history.Writes(s, 0, fmt.Sprint("r", r), []events.Event{ev})); err != nil {
			t.Fatal(err)
		}
	}
	const few = 16<<20/size + 1
	c := read(t, j, 0)
	harness.Eventually(t, "the reader's buffer is full", func() bool { return len(c.Messages()) >= few-1 })
	if err := nc.Flush(); err != nil { // receive what the server has sent so far
		t.Fatal(err)
	}
	if buffered := len(c.Messages()); buffered > few {
		t.Errorf("%d events of %d bytes are buffered", buffered, size)
	}
	for r := uint64(1); r <= n; r++ {
		if m := harness.Receive(t, "an event", c.Messages()); m.Revision != r || m.Bad != nil {
			t.Fatalf("expected revision %d: %d, %v", r, m.Revision, m.Bad)
		}
	}
	if dropped.Load() > 0 {
		t.Errorf("the client library reports %d errors", dropped.Load())
	}
}
