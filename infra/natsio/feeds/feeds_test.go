package feeds_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// feedsOn returns the target of one engine.
func feedsOn(t *testing.T, nc *nats.Conn, j *journal.Journal) *feeds.Feeds {
	t.Helper()
	s, err := feeds.NewStreams(nc, natsio.NewSubjects(""), true, harness.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	return feeds.New(s, j)
}

func openOn(t *testing.T, nc *nats.Conn) *journal.Journal {
	t.Helper()
	j, err := journal.Open(t.Context(), nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// changes is a batch of events as the runner passes it to Apply.
func changes(from uint64, evs ...events.Event) projections.Changes {
	var c projections.Changes
	for i, ev := range evs {
		ev.Version, ev.Digest, ev.Schema = 1, "d", events.Schema
		ev.Aggregate, _, _ = strings.Cut(ev.Type, ".")
		rec := events.Record{Event: ev, Revision: from + uint64(i) + 1, Name: events.Task(ev.ID)}
		if ev.Aggregate == "agent" {
			rec.Name = events.StateEntry(ev.ID, ev.Key)
		}
		c.Events = append(c.Events, &rec)
	}
	return c
}

func set(agent string) events.Event {
	return events.Event{Type: events.StateSet, ID: agent, Key: "k", Data: []byte(`{"value":1}`)}
}

func started(task string) events.Event {
	return events.Event{Type: events.TaskStarted, ID: task, Data: []byte(`{"agent_id":"a"}`)}
}

func load(t *testing.T, f *feeds.Feeds, j *journal.Journal, want uint64) {
	t.Helper()
	if at, err := f.Load(t.Context(), 0, j.ID()); err != nil || at != want {
		t.Fatalf("the feeds are at %d %v, want %d", at, err, want)
	}
}

func apply(t *testing.T, f *feeds.Feeds, from, to uint64, c projections.Changes) {
	t.Helper()
	if err := f.Apply(t.Context(), 0, from, to, c); err != nil {
		t.Fatal(err)
	}
}

// subjects returns the number of messages of each subject of a stream.
func subjects(t *testing.T, nc *nats.Conn, stream string) map[string]uint64 {
	t.Helper()
	s, err := support.JetStream(t, nc).Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Subjects
}

// A second engine reads the position and repeats no event, even if it loaded the
// position before the first engine published.
func TestFeedsShared(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	j := openOn(t, nc)
	one, other := feedsOn(t, nc, j), feedsOn(t, nc, j)
	load(t, one, j, 0)
	load(t, other, j, 0)
	c := changes(0, set("a"), started("t"), set("b"))
	apply(t, one, 0, 3, c)
	before := subjects(t, nc, "AGENT_STATE")
	apply(t, other, 0, 3, c)
	load(t, feedsOn(t, nc, j), j, 3)
	apply(t, other, 3, 4, changes(3, started("u")))
	load(t, feedsOn(t, nc, j), j, 3) // AGENT_STATE stays at 3, because event 4 is not published there
	tasks := subjects(t, nc, "TASK_EXECUTION")
	if before["agents.state.a.k"] != 1 || before["agents.state.b.k"] != 1 || len(before) != 3 {
		t.Errorf("AGENT_STATE has %v", before)
	}
	if tasks["tasks.started.t.a"] != 1 || tasks["tasks.started.u.a"] != 1 || tasks["tasks.created.$feeds.0"] != 2 || len(tasks) != 3 {
		t.Errorf("TASK_EXECUTION has %v", tasks)
	}
}

// A stream whose messages and position have expired continues at its maximum age,
// and the other one at its own position.
func TestFeedsExpired(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	js := support.JetStream(t, nc)
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "AGENT_STATE", Subjects: []string{"agents.state.>", "agents.lifecycle.>", "agents.heartbeat.>"},
		MaxAge: time.Second, Duplicates: time.Second, AllowRollup: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	j := openOn(t, nc)
	f := feedsOn(t, nc, j)
	load(t, f, j, 0)
	ev := set("a")
	ev.Version, ev.Aggregate, ev.Schema = 1, "agent", events.Schema
	if ev.Digest, err = events.Chain("", &ev); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), history.Writes(events.StateEntry("a", "k"), 0, "id", []events.Event{ev})); err != nil {
		t.Fatal(err)
	}
	apply(t, f, 0, 1, changes(0, ev))
	harness.Eventually(t, "all messages expire", func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
	again := feedsOn(t, nc, j)
	load(t, again, j, 0) // the position of TASK_EXECUTION, which has no messages
	apply(t, again, 0, 1, changes(0, ev))
	if got := subjects(t, nc, "AGENT_STATE"); got["agents.state.a.k"] != 0 {
		t.Errorf("an expired event is published again: %v", got)
	}
}

// A message that is too large is skipped; the next ones are published.
func TestFeedsTooLarge(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	j := openOn(t, nc)
	f := feedsOn(t, nc, j)
	load(t, f, j, 0)
	large, beyond := set("large"), set("beyond")
	large.Data = []byte(`{"value":"` + strings.Repeat("x", 2<<20) + `"}`)
	beyond.Data = []byte(`{"value":"` + strings.Repeat("x", 9<<20) + `"}`) // larger than the server's max_payload
	apply(t, f, 0, 4, changes(0, set("a"), large, beyond, set("b")))
	got := subjects(t, nc, "AGENT_STATE")
	if got["agents.state.a.k"] != 1 || got["agents.state.b.k"] != 1 || len(got) != 3 {
		t.Errorf("AGENT_STATE has %v", got)
	}
}

// A stream that refuses new messages when it is full gets each message when it has room.
func TestFeedsFull(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	j := openOn(t, nc)
	f := feedsOn(t, nc, j)
	load(t, f, j, 0)
	apply(t, f, 0, 1, changes(0, started("t")))
	js := support.JetStream(t, nc)
	limit := func(bytes int64) {
		s, err := js.Stream(t.Context(), "TASK_EXECUTION")
		harness.Must(t, err)
		cfg := s.CachedInfo().Config
		cfg.Discard, cfg.MaxBytes = jetstream.DiscardNew, bytes
		if bytes == 0 {
			cfg.MaxBytes = int64(s.CachedInfo().State.Bytes) + 2000 // there is room for a position
		}
		_, err = js.UpdateStream(t.Context(), cfg)
		harness.Must(t, err)
	}
	limit(0)
	large := started("large")
	large.Data = []byte(`{"agent_id":"a","x":"` + strings.Repeat("x", 4000) + `"}`)
	if err := f.Apply(t.Context(), 0, 1, 2, changes(1, large)); err == nil {
		t.Error("a message that a full stream refuses is skipped")
	}
	limit(1 << 20)
	apply(t, f, 1, 2, changes(1, large))
	if got := subjects(t, nc, "TASK_EXECUTION"); got["tasks.started.large.a"] != 1 {
		t.Errorf("TASK_EXECUTION has %v", got)
	}
}

// Load fails on the feeds of another journal.
func TestFeedsForeign(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	j := openOn(t, nc)
	f := feedsOn(t, nc, j)
	load(t, f, j, 0)
	apply(t, f, 0, 1, changes(0, set("a")))
	if err := support.JetStream(t, nc).DeleteStream(t.Context(), "EVENTS"); err != nil {
		t.Fatal(err)
	}
	j = openOn(t, nc)
	if _, err := feedsOn(t, nc, j).Load(t.Context(), 0, j.ID()); !errors.Is(err, history.ErrForeignJournal) {
		t.Errorf("load: %v", err)
	}
}
