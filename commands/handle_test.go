package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// engine is a handler on a real journal; several may share one.
type engine struct {
	*commands.Handler
	t       *testing.T
	journal history.Journal
}

// newEngine returns an engine whose commands have the time that a busy machine needs.
func newEngine(t *testing.T, journal history.Journal, cfg commands.Config) *engine {
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	h := commands.NewHandler(journal, cfg)
	t.Cleanup(h.Close)
	return &engine{h, t, journal}
}

// one is an engine on a journal of its own.
func one(t *testing.T) *engine { return newEngine(t, journaltest.History(t, 1), commands.Config{}) }

type answer struct {
	commands.Receipt
	err error
}

// send sends a command and returns the channel of its answer.
func (e *engine) send(id, agent, verb, body string) <-chan answer {
	answers := make(chan answer, 2)
	e.Handle(e.t.Context(), commands.Request{Aggregate: "agent", ID: agent, Verb: verb, CommandID: id, Body: []byte(body)},
		func(r commands.Receipt, err error) { answers <- answer{r, err} })
	return answers
}

// do executes a command on agent a1.
func (e *engine) do(id, verb, body string) (commands.Receipt, error) {
	e.t.Helper()
	got := harness.Receive(e.t, "an answer", e.send(id, "a1", verb, body))
	return got.Receipt, got.err
}

func (e *engine) accepted(id, verb, body string) commands.Receipt {
	e.t.Helper()
	r, err := e.do(id, verb, body)
	if err != nil || r.Outcome != domain.Accepted || r.Replayed {
		e.t.Fatalf("%s %s: %+v, %v", verb, body, r, err)
	}
	return r
}

// replays expects the first receipt again.
func (e *engine) replays(id, verb, body string, first commands.Receipt) {
	e.t.Helper()
	r, err := e.do(id, verb, body)
	first.Replayed = true
	if err != nil || r != first {
		e.t.Errorf("%s %s again: %+v, %v\nwant %+v", verb, body, r, err, first)
	}
}

// refused expects an error by kind and code.
func (e *engine) refused(id, verb, body string, kind domain.Kind, code string) refusal {
	e.t.Helper()
	r, err := e.do(id, verb, body)
	var known *domain.Error
	if !errors.As(err, &known) || known.Kind != kind || known.Code != code {
		e.t.Fatalf("%s %s: %s (%s) expected, got %+v, %v", verb, body, kind, code, r, err)
	}
	return refusal{known}
}

// refusal is an error that was expected.
type refusal struct{ *domain.Error }

// stored are all events of an aggregate.
func (e *engine) stored(s events.AggregateName) []events.Record {
	e.t.Helper()
	return commandstest.Stored(e.t, e.journal, s)
}

// count expects so many events and losses of an entry of a1.
func (e *engine) count(key string, wantEvents, wantLosses int) {
	e.t.Helper()
	commandstest.Count(e.t, e.journal, key, wantEvents, wantLosses)
}

func youngID() string { return ulid.Make().String() }

// oldID is of a command made hours ago, outside the duplicate window.
func oldID() string {
	return ulid.MustNew(ulid.Timestamp(time.Now().Add(-3*time.Hour)), ulid.DefaultEntropy()).String()
}

func TestReceiptsCountVersions(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		e := newEngine(t, journaltest.History(t, partitions), commands.Config{})
		last := uint64(0)
		for v, c := range []struct{ verb, body string }{
			{"set", `{"key":"k","value":1}`}, {"set", `{"key":"k","value":1}`}, {"delete", `{"key":"k"}`},
			{"set", `{"key":"k","value":2,"strategy":"reject"}`}, {"set", `{"key":"k","value":3,"expected_version":4}`},
			{"delete", `{"key":"k","strategy":"last_write_wins"}`}, {"set", `{"key":"k","value":4,"expected_version":0}`},
		} {
			r := e.accepted("", c.verb, c.body)
			token, err := domain.ParseToken(r.Token, e.journal.Incarnation(), partitions)
			if r.Version != uint64(v+1) || r.Revision <= last || r.Aggregate != "agent" || r.ID != "a1" || r.Key != "k" ||
				err != nil || token.Positions[e.journal.Partition("a1")] != r.Revision {
				t.Errorf("%s %s: %+v, %v", c.verb, c.body, r, err)
			}
			last = r.Revision
		}
		if r := e.accepted("", "set", `{"key":"k.other","value":1}`); r.Version != 1 {
			t.Errorf("another key: %+v", r)
		}
		e.count("k", 7, 0)
	}
}

func TestRefusalsSayWhatTheyLostAgainst(t *testing.T) {
	e := one(t)
	e.accepted("", "set", `{"key":"k","value":1}`)
	at := e.accepted("", "set", `{"key":"k","value":2}`)
	for body, verb := range map[string]string{
		`{"key":"k","value":3,"strategy":"reject"}`: "set", `{"key":"k","value":3,"expected_version":1}`: "set",
		`{"key":"k","value":3,"expected_version":0}`: "set", `{"key":"k","value":3,"expected_version":3}`: "set",
		`{"key":"k","expected_version":18446744073709551615}`: "delete",
	} {
		err := e.refused("", verb, body, domain.Conflict, "state.conflict")
		if err.Details["version"] != at.Version || err.Details["revision"] != at.Revision {
			t.Errorf("%s: %+v", body, err.Details)
		}
	}
	e.refused("", "delete", `{"key":"none"}`, domain.NotFound, "state.not_found")
	e.count("k", 2, 5)
	e.count("none", 0, 0)
	if r, err := e.do("", "set", `{"key":"k","value":4,"timestamp":"2001-01-01T00:00:00Z"}`); err != nil || r.Outcome != domain.Superseded ||
		r.Version != at.Version || r.Revision != at.Revision || r.Token != at.Token {
		t.Errorf("an older write: %+v, %v", r, err)
	}
	e.count("k", 2, 6)
}

func TestTimesOfEventsAreTheWallClocks(t *testing.T) {
	var seen []events.Record
	e := newEngine(t, journaltest.History(t, 1), commands.Config{Observe: func(r events.Record) { seen = append(seen, r) }})
	e.accepted("", "set", `{"key":"k","value":1}`)
	e.Close()
	// With a monotonic clock reading, the cached head would compare differently
	// from the event in the journal.
	if r := seen[0]; r.Timestamp != r.Timestamp.Round(0) || r.RecordedAt != r.RecordedAt.Round(0) {
		t.Errorf("timestamp %s, recorded at %s", r.Timestamp, r.RecordedAt)
	}
}

func TestObserveSeesEveryEventBeforeItsAnswer(t *testing.T) {
	seen := make(chan events.Record, 100)
	e := newEngine(t, journaltest.History(t, 4), commands.Config{Observe: func(r events.Record) { seen <- r }})
	for i := range 20 {
		r := e.accepted("", "set", fmt.Sprintf(`{"key":"k%d","value":%d}`, i, i))
		rec := <-seen
		stored, err := e.journal.At(t.Context(), rec.Partition, rec.Revision)
		if err != nil || rec.Revision != r.Revision || string(rec.Encode()) != string(stored.Encode()) || rec.Name != stored.Name {
			t.Errorf("%+v\nstored %+v, %v", rec, stored, err)
		}
	}
}

func TestOneAggregatesCommandsKeepTheirOrder(t *testing.T) {
	e := one(t)
	var answers []<-chan answer
	for i := range 200 {
		answers = append(answers, e.send("", "a1", "set", fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, i)))
	}
	for i, a := range answers {
		if got := harness.Receive(t, "an answer", a); got.err != nil || got.Version != uint64(i+1) {
			t.Fatalf("command %d was answered with %+v", i+1, got)
		}
	}
	for i, rec := range e.stored(events.StateEntry("a1", "k")) {
		if !strings.Contains(string(rec.Data), fmt.Sprintf(`"value":%d,`, i)) {
			t.Fatalf("the %d. is %s", i+1, rec.Data)
		}
	}
	if e.Stats().Appends.Load() != 200 || e.Stats().Conflicts.Load() != 0 || e.InFlight() != 0 {
		t.Errorf("%d appends, %d conflicts, %d in flight", e.Stats().Appends.Load(), e.Stats().Conflicts.Load(), e.InFlight())
	}
}
