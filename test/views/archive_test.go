package views_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// do executes a command of any aggregate; a refusal is an answer too.
func do(t *testing.T, h *commands.Handler, id, aggregate, of, verb, body string) (commands.Receipt, error) {
	t.Helper()
	r, err := h.Send(t.Context(), commands.Request{Aggregate: aggregate, ID: of, Verb: verb, CommandID: id, Body: []byte(body)})
	var known *domain.Error
	if err != nil && (!errors.As(err, &known) || known.Kind == domain.Internal) {
		t.Fatalf("%s %s %s: %v", aggregate, verb, body, err)
	}
	return r, err
}

// mixed writes to every kind of aggregate, writes that lose included.
func (w *world) mixed(round int) {
	w.t.Helper()
	for i, c := range [][3]string{
		{"agent", "set", `{"key":"k","value":{ "n":1.50, "s":"\u0041é" },"strategy":"last_write_wins"}`},
		{"agent", "set", `{"key":"k","value":2,"timestamp":"2001-01-01T00:00:00Z","strategy":"timestamp"}`},
		{"agent", "set", `{"key":"k","value":3,"expected_version":99}`},
		{"agent", "delete", `{"key":"k","strategy":"last_write_wins"}`},
		{"agent", "hydrate", `{}`}, {"agent", "retire", `{"reason":"done"}`},
		{"task", "create", `{"kind":"think","payload":{"a":[1,2]}}`}, {"task", "start", `{"agent_id":"a"}`},
		{"task", "progress", `{"percent":50.5}`}, {"task", "complete", `{"result":null}`},
		{"session", "open", `{"owner":"o"}`}, {"session", "put", `{"key":"k","value":1.0}`}, {"session", "close", `{}`},
		{"config", "set", `{"key":"c","value":[ ]}`}, {"config", "unset", `{"key":"c"}`},
	} {
		// Some are refused, as intended.
		_, _ = do(w.t, w.Handler, "", c[0], fmt.Sprintf("x%d-%d", i%3, round%7), c[1], c[2])
	}
}

// messages reads a partition of a source up to its head.
func (w *world) messages(src history.Source, partition int, head uint64) []history.Message {
	w.t.Helper()
	cur, err := src.Read(w.t.Context(), partition, 0)
	harness.Must(w.t, err)
	defer cur.Stop()
	var all []history.Message
	for len(all) == 0 && head > 0 || len(all) > 0 && all[len(all)-1].Revision < head {
		all = append(all, harness.Receive(w.t, "an event", cur.Messages()))
	}
	return all
}

// archived compares the archive with the journal, byte for byte.
func (w *world) archived() {
	w.t.Helper()
	for p := range w.journal.Partitions() {
		head, err := w.journal.Head(w.t.Context(), p)
		harness.Must(w.t, err)
		want, i := w.messages(w.history.Retained(), p, head), 0
		err = archive.New(w.db, "archive").Each(w.t.Context(), p, 0, head, func(m history.Message) error {
			if i >= len(want) || m.Revision != want[i].Revision || m.Name != want[i].Name || !bytes.Equal(m.Body, want[i].Body) ||
				(m.Bad == nil) != (want[i].Bad == nil) || !m.RecordedAt.Equal(want[i].RecordedAt) {
				w.t.Fatalf("archived as %d. is %+v", i, m)
			}
			i++
			return nil
		})
		if err != nil || i != len(want) {
			w.t.Errorf("partition %d: %d of %d events archived, %v", p, i, len(want), err)
		}
	}
}

func TestTheArchiveIsTheJournal(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		w := newWorld(t, partitions)
		w.start("archive")
		second := projections.NewProgress(partitions) // another engine's runner
		for p := range partitions {
			w.run("archive", p, second)
		}
		for round := range 8 {
			w.mixed(round)
		}
		name := "EVENTS"
		if partitions > 1 {
			name = "EVENTS_0"
		}
		poison := support.Intake(t, w.nc, name) + "agent.a0.state.poison"
		for _, body := range []string{"torn", "", "\xff\x00"} {
			if _, err := support.JetStream(t, w.nc).Publish(t.Context(), poison, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		w.mixed(9)
		w.caughtUp("archive")
		w.archived()
		w.exec("UPDATE agents.checkpoints SET position = position / 2, digest = NULL")
		w.mixed(10)
		w.caughtUp("archive")
		w.archived()
	}
}

// later is an engine that starts when the duplicate window has passed.
func (w *world) later(after time.Duration) *commands.Handler {
	return w.clock(func() time.Duration { return after })
}

// clock is a handler whose clock is ahead by what a function returns.
func (w *world) clock(ahead func() time.Duration) *commands.Handler {
	past := history.New(w.journal, archive.New(w.db, "archive"), 0)
	h := commands.NewHandler(&commandstest.Windowless{Journal: past}, commands.Config{
		Archive: past,
		Now:     func() time.Time { return time.Now().UTC().Add(ahead()) },
	})
	w.t.Cleanup(h.Close)
	return h
}

// sent is a command with its first answer.
type sent struct {
	id, aggregate, of, verb, body string
	receipt                       commands.Receipt
	refused                       string // message of the refusal
}

// lives returns commands of every kind that write an event, with ids of one
// kind, for aggregates whose ids have a prefix. None of them is the last of its
// aggregate.
func (w *world) lives(life string, id func() string) (all []*sent) {
	w.t.Helper()
	for _, c := range [][4]string{
		{"agent", "u1", "set", `{"key":"k","value":1,"strategy":"last_write_wins"}`},
		{"agent", "u1", "set", `{"key":"k","value":2,"strategy":"reject"}`},
		{"agent", "u1", "set", `{"key":"k","value":2,"timestamp":"2001-01-01T00:00:00Z"}`},
		{"agent", "u1", "delete", `{"key":"k","strategy":"last_write_wins"}`},
		{"agent", "u1", "set", `{"key":"k","value":3,"strategy":"reject"}`},
		{"agent", "u2", "set", `{"key":"new","value":3,"expected_version":4}`}, // only a loser
		{"task", "t1", "create", `{"kind":"think"}`}, {"task", "t1", "start", `{"agent_id":"a"}`},
		{"session", "s1", "open", `{"owner":"o"}`}, {"config", "c1", "set", `{"key":"c","value":1}`},
		{"agent", "u1", "hydrate", `{}`},
	} {
		s := &sent{id: id(), aggregate: c[0], of: life + c[1], verb: c[2], body: c[3]}
		var err error
		if s.receipt, err = do(w.t, w.Handler, s.id, c[0], s.of, c[2], c[3]); err != nil {
			s.refused = err.Error()
		}
		all = append(all, s)
	}
	for range 3 {
		w.set(life+"u1", "k", "1")
		w.set(life+"u2", "new", "1")
		for _, c := range [][4]string{
			{"task", "t1", "progress", `{"percent":1}`}, {"session", "s1", "touch", `{}`}, {"config", "c1", "set", `{"key":"c","value":2}`},
			{"agent", "u1", "retire", `{}`},
		} {
			if _, err := do(w.t, w.Handler, "", c[0], life+c[1], c[2], c[3]); err != nil && c[3] != `{}` {
				w.t.Fatal(err)
			}
		}
	}
	return all
}

// again repeats each command and expects its first answer.
func (w *world) again(h *commands.Handler, all []*sent) {
	w.t.Helper()
	for _, s := range all {
		r, err := do(w.t, h, s.id, s.aggregate, s.of, s.verb, s.body)
		want := s.receipt
		want.Replayed = s.refused == ""
		if r != want || (err == nil) != (s.refused == "") || err != nil && err.Error() != s.refused {
			w.t.Errorf("%s %s %s again: %+v, %v; the first time %+v, %s", s.aggregate, s.verb, s.body, r, err, want, s.refused)
		}
		if s.aggregate != "agent" || s.verb == "hydrate" {
			continue
		}
		_, err = do(w.t, h, s.id, s.aggregate, s.of, s.verb, strings.Replace(s.body, "}", `,"writer":"another"}`, 1))
		w.fails("command.id_reused", err)
	}
}

func (w *world) heads() (heads []uint64) {
	w.t.Helper()
	for p := range w.journal.Partitions() {
		head, err := w.journal.Head(w.t.Context(), p)
		harness.Must(w.t, err)
		heads = append(heads, head)
	}
	return heads
}

func untimed() func() string {
	n := 0
	return func() string { n++; return fmt.Sprint("command-", n) }
}

// TestAnIDWithoutATimeIsKnownForEver: an id that carries no time is found as
// far back as the archive reaches, and in the journal after that.
func TestAnIDWithoutATimeIsKnownForEver(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		w := newWorld(t, partitions)
		var runners []*runner
		for p := range partitions {
			runners = append(runners, w.run("archive", p, nil))
		}
		all := w.lives("a", untimed())
		w.caughtUp("archive")
		before := w.heads()
		w.again(w.later(time.Hour), all)
		w.again(w.later(0), all) // the archive knows it at once
		if now := w.heads(); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("the journal went from %v to %v", before, now)
		}
		for _, r := range runners {
			r.stop()
		}
		lagging := w.lives("b", func() string { return ulid.Make().String()[10:] + "-late" })
		before = w.heads()
		w.again(w.later(time.Hour), append(all, lagging...))
		if now := w.heads(); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("while the archive lags the journal went from %v to %v", before, now)
		}
	}
}

// TestABatchOfIDsWithoutATimeIsKnownForEver: the same for the commands of a
// batch.
func TestABatchOfIDsWithoutATimeIsKnownForEver(t *testing.T) {
	w := newWorld(t, 1)
	w.start("archive")
	batch := []byte(`{"atomic":true,"commands":[
		{"subject":"agent.b1.set","id":"first","body":{"key":"k","value":1}},
		{"subject":"task.b2.create","id":"second","body":{"kind":"think"}}]}`)
	send := func(h *commands.Handler) []commands.Result {
		answers := make(chan []commands.Result, 1)
		h.HandleBatch(t.Context(), "", batch, strings.Clone, func(got []commands.Result, err error) {
			if err != nil {
				t.Error(err)
			}
			answers <- got
		})
		return harness.Receive(t, "an answer", answers)
	}
	first := send(w.Handler)
	w.set("b1", "k", "2")
	if _, err := do(t, w.Handler, "", "task", "b2", "start", `{"agent_id":"a"}`); err != nil {
		t.Fatal(err)
	}
	w.caughtUp("archive")
	before := w.heads()
	for i, again := range send(w.later(time.Hour)) {
		if first[i].Receipt.Replayed = true; again != first[i] {
			t.Errorf("again: %+v, %v", again, first[i])
		}
	}
	if now := w.heads(); now[0] != before[0] {
		t.Errorf("the journal went from %v to %v", before, now)
	}
}

// TestWithoutTheArchiveAnIDWithoutATimeGoesOn: without SQL commands proceed,
// and only the duplicate window recognises such an id.
func TestWithoutTheArchiveAnIDWithoutATimeGoesOn(t *testing.T) {
	w := newWorld(t, 1)
	w.start("archive")
	id, body := "an-id", `{"key":"k","value":1,"strategy":"last_write_wins"}`
	first, err := do(t, w.Handler, id, "agent", "a1", "set", body)
	harness.Must(t, err)
	w.set("a1", "k", "2")
	w.caughtUp("archive")
	w.sql(false)
	ahead := 5 * time.Hour
	h := w.clock(func() time.Duration { return ahead })
	for n := range 3 {
		if r, err := do(t, h, fmt.Sprint("other-", n), "agent", "a1", "set", body); err != nil || r.Outcome != domain.Accepted {
			t.Errorf("without SQL: %+v, %v", r, err)
		}
	}
	if n := h.Stats().Unasked.Load(); n != 3 {
		t.Errorf("%d commands were decided without the archive", n)
	}
	w.sql(true)
	harness.Eventually(t, "the archive answers", func() bool { return w.db.Ping(t.Context()) == nil })
	w.caughtUp("archive")
	first.Replayed = true
	ahead = time.Hour // the clock is set back: the archive is asked all the same
	if r, err := do(t, h, id, "agent", "a1", "set", body); err != nil || r != first {
		t.Errorf("again: %+v, %v; want %+v", r, err, first)
	}
}

// trim removes all but the last event of each subject from the journal as
// `archive trim` does: it writes the mark first.
func (w *world) trim(upTo uint64) {
	w.t.Helper()
	s, err := support.JetStream(w.t, w.nc).Stream(w.t.Context(), "EVENTS")
	harness.Must(w.t, err)
	cfg := s.CachedInfo().Config
	cfg.Metadata["tidemark.trimmed"] = fmt.Sprint(upTo)
	if _, err := support.JetStream(w.t, w.nc).UpdateStream(w.t.Context(), cfg); err != nil {
		w.t.Fatal(err)
	}
	info, err := s.Info(w.t.Context(), jetstream.WithSubjectFilter(">"))
	harness.Must(w.t, err)
	for subject := range info.State.Subjects {
		harness.Must(w.t, s.Purge(w.t.Context(), jetstream.WithPurgeSubject(subject), jetstream.WithPurgeKeep(1)))
	}
}

// TestATrimmedCommandIsStillKnown: an id that carries its time takes effect at
// most once, also after a trim. Without the archive the engine cannot decide,
// and refuses the command.
func TestATrimmedCommandIsStillKnown(t *testing.T) {
	w := newWorld(t, 1)
	w.start("archive")
	old := func() string {
		return ulid.MustNew(ulid.Timestamp(time.Now().Add(-time.Hour)), ulid.DefaultEntropy()).String()
	}
	all := w.lives("", old)
	w.caughtUp("archive")
	w.trim(w.heads()[0])
	before := w.heads()[0]
	w.again(w.later(time.Hour), all)
	if now := w.heads()[0]; now != before {
		t.Errorf("the journal went from %d to %d", before, now)
	}
	joined := history.New(w.journal, archive.New(w.db, "archive"), 0)
	if n := len(w.messages(joined, 0, before)); n != int(before) {
		t.Errorf("%d of %d events are in the journal and its archive together", n, before)
	}
	w.set("u1", "k", `"after the trim"`)
	w.sql(false)
	madeAt := func(after time.Duration) string {
		return ulid.MustNew(ulid.Timestamp(time.Now().Add(after)), ulid.DefaultEntropy()).String()
	}
	for _, h := range []*commands.Handler{w.later(time.Hour), commands.NewHandler(w.history, commands.Config{
		Now: func() time.Time { return time.Now().UTC().Add(time.Hour) }, // an engine without SQL
	})} {
		_, err := do(t, h, all[0].id, "agent", "u1", "set", all[0].body)
		w.fails("archive.unavailable", err)
		for _, id := range []string{madeAt(10 * time.Minute), madeAt(time.Hour)} { // after the trim: in the journal, if anywhere
			if r, err := do(t, h, id, "agent", "u1", "set", all[0].body); err != nil || r.Replayed {
				t.Errorf("a command of after the trim: %+v, %v", r, err)
			}
		}
		h.Close()
	}
}
