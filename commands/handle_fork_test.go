package commands_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// forks is an engine that can fork, and the reader of its agents' entries.
func forks(t *testing.T, partitions int) (*engine, *history.History) {
	past := journaltest.History(t, partitions)
	return newEngine(t, past, commands.Config{Past: past}), past
}

func (e *engine) to(agent, id, verb, body string) (commands.Receipt, error) {
	e.t.Helper()
	got := harness.Receive(e.t, "an answer", e.send(id, agent, verb, body))
	return got.Receipt, got.err
}

// write sets keys of an agent, each to i.
func (e *engine) write(agent string, i, keys int) {
	e.t.Helper()
	for k := range keys {
		if _, err := e.to(agent, "", "set", fmt.Sprintf(`{"key":"k%d","value":[ %d ],"writer":"w","strategy":"last_write_wins"}`, k, i)); err != nil {
			e.t.Fatal(err)
		}
	}
}

// has is an agent's entries as of now, without their revisions.
func has(t *testing.T, p *history.History, agent string) map[string]string {
	t.Helper()
	recs, err := p.EntriesOf(t.Context(), agent, 0, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, rec := range recs {
		d, err := events.DecodeStateWrite(rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Type == events.StateSet {
			got[rec.Key] = fmt.Sprint(string(d.Value), rec.Writer, rec.Timestamp)
		}
	}
	return got
}

func TestForkIsThePastOfAnother(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		e, past := forks(t, partitions)
		e.write("origin", 1, 5)
		first := has(t, past, "origin")
		r, err := e.to("origin", "", "delete", `{"key":"k2"}`)
		if err != nil {
			t.Fatal(err)
		}
		e.write("origin", 2, 2)
		e.write("origin", 3, 1)
		last, err := e.to("origin", "", "set", `{"key":"k4","value":"last"}`)
		if err != nil {
			t.Fatal(err)
		}
		now := has(t, past, "origin")
		for name, body := range map[string]string{
			"now":  `{"from":"origin","reason":"what if"}`,
			"then": fmt.Sprintf(`{"from":"origin","at_revision":%d}`, r.Revision-1),
			"last": `{"from":"origin","at_revision":` + strconv.FormatUint(last.Revision, 10) + `}`,
		} {
			id := ulid.Make().String()
			got, err := e.to(name, id, "fork", body)
			if err != nil || got.Outcome != domain.Accepted || got.Version != 1 || got.ID != name {
				t.Fatalf("%s: %+v, %v", name, got, err)
			}
			want := now
			if name == "then" {
				want = first
			}
			if copied := has(t, past, name); fmt.Sprint(copied) != fmt.Sprint(want) {
				t.Errorf("%s: %v\nwant %v", name, copied, want)
			}
			forked := e.stored(events.Lifecycle(name))
			l, err := domain.CarriedState[agent.Lifecycle](&forked[0].Event)
			if err != nil || len(forked) != 1 || forked[0].Revision != got.Revision || l.Phase != agent.Active {
				t.Errorf("%s: %+v, %v", name, forked, err)
			}
			if _, err := e.to(name, "", "set", `{"key":"k0","value":"its own"}`); err != nil {
				t.Error(err)
			}
			again, err := e.to(name, id, "fork", body)
			if got.Replayed = true; err != nil || again != got {
				t.Errorf("%s again: %+v, %v", name, again, err)
			}
			if fmt.Sprint(has(t, past, "origin")) != fmt.Sprint(now) {
				t.Errorf("%s: the origin has changed", name)
			}
		}
	}
}

func TestForkIsRefusedWhereAnAgentIs(t *testing.T) {
	e, _ := forks(t, 1)
	e.write("origin", 1, 3)
	e.write("entries", 1, 1)
	e.write("gone", 1, 1)
	for agent, verb := range map[string]string{"lifecycle": "hydrate", "gone": "delete"} {
		if _, err := e.to(agent, "", verb, map[string]string{"hydrate": `{}`, "delete": `{"key":"k0"}`}[verb]); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ agent, body, code string }{
		{"entries", `{"from":"origin"}`, "agent.exists"},
		{"lifecycle", `{"from":"origin"}`, "agent.exists"},
		{"gone", `{"from":"origin"}`, "agent.exists"},
		{"origin", `{"from":"origin"}`, "agent.exists"},
		{"new", `{"from":"unknown"}`, "agent.not_found"},
		{"new", `{"from":"gone"}`, "agent.not_found"},
		{"new", `{"from":"origin","at_revision":0}`, "agent.not_found"},
		{"new", `{"from":"origin","at_time":"2001-01-01T00:00:00Z"}`, "agent.not_found"},
		{"new", `{"from":"origin","at_time":"2101-01-01T00:00:00Z"}`, "timestamp.future"},
		{"new", `{"from":"origin","at_revision":9}`, "revision.future"},
		{"new", `{"from":"unknown","at_revision":18446744073709551615}`, "revision.future"},
		{"new", `{"from":"origin","at_revision":1,"at_time":"2001-01-01T00:00:00Z"}`, "body.invalid"},
		{"new", `{"from":"a.b"}`, "id.invalid"},
		{"new", `{}`, "body.missing_field"},
		{"kv", `{"from":"origin"}`, "id.invalid"},
	} {
		if _, err := e.to(c.agent, "", "fork", c.body); !hasCode(err, c.code) {
			t.Errorf("%s %s: %v, want %s", c.agent, c.body, err, c.code)
		}
	}
	if n := len(e.stored(events.Lifecycle("new"))) + len(e.stored(events.AgentStates("new"))); n > 0 {
		t.Errorf("a refused fork left %d events", n)
	}
}

// cutOff is a journal that fails from a batch on.
type cutOff struct {
	history.Journal
	left int
	lost bool // that batch is stored and only its answer is lost
}

func (j *cutOff) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	if j.left--; j.left > 0 {
		return j.Journal.Append(ctx, writes)
	}
	if j.lost {
		if _, err := j.Journal.Append(ctx, writes); err != nil {
			return history.Appended{}, err
		}
	}
	return history.Appended{}, errors.New("the connection is lost")
}

// A large fork takes several batches. Repeated after an interruption, it continues
// where it stopped, as of the revision it started from, though the origin changed.
func TestAnInterruptedForkContinues(t *testing.T) {
	const keys = 2000
	for name, journal := range map[string]cutOff{"before the first": {left: 1}, "between": {left: 2}, "before the last": {left: 3}, "in the answer": {left: 3, lost: true}} {
		t.Run(name, func(t *testing.T) {
			e, past := forks(t, 1)
			writes := make([]history.Write, 0, keys)
			for k := range keys {
				ev := events.Event{
					Type: events.StateSet, Aggregate: "agent", ID: "origin", Key: fmt.Sprint("k", k), Version: 1, Timestamp: time.Now().UTC(),
					RecordedAt: time.Now().UTC(), CommandID: "c", Schema: events.Schema, Digest: "d",
					Data: (&events.StateWrite{Value: fmt.Append(nil, k), Strategy: "timestamp", Request: "r"}).Encode(),
				}
				writes = append(writes, history.Write{Name: events.StateEntry("origin", ev.Key), First: true, Event: &ev})
			}
			for i := 0; i < keys; i += 1000 {
				if _, err := past.Append(t.Context(), writes[i:i+1000]); err != nil {
					t.Fatal(err)
				}
			}
			want := has(t, past, "origin")
			journal.Journal = past
			broken := newEngine(t, &journal, commands.Config{Past: past})
			id := ulid.Make().String()
			if r, err := broken.to("new", id, "fork", `{"from":"origin"}`); err == nil {
				t.Fatalf("%+v", r)
			}
			if journal.left < 0 {
				t.Fatal("it continued after the failure")
			}
			e.write("origin", -1, 1)
			if name == "before the first" { // no copy names the revision yet
				want = has(t, past, "origin")
			}
			r, err := e.to("new", id, "fork", `{"from":"origin"}`)
			if err != nil || r.Version != 1 || r.Replayed != journal.lost {
				t.Fatalf("%+v, %v", r, err)
			}
			if got := has(t, past, "new"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%d keys of %d, or others", len(got), len(want))
			}
			if n := len(e.stored(events.AgentStates("new"))); n != keys {
				t.Errorf("%d events", n)
			}
			if other, err := e.to("new", "", "fork", `{"from":"origin"}`); !hasCode(err, "agent.exists") {
				t.Errorf("another fork: %+v, %v", other, err)
			}
		})
	}
}

// Of several forks into one agent one wins, with all entries.
func TestOneForkWins(t *testing.T) {
	e, past := forks(t, 1)
	other := newEngine(t, past, commands.Config{Past: past})
	e.write("a", 1, 20)
	e.write("b", 2, 20)
	answers := map[string][]<-chan answer{}
	for range 4 {
		for _, from := range []string{"a", "b"} {
			for _, e := range []*engine{e, other} {
				answers[from] = append(answers[from], e.send("", "new", "fork", fmt.Sprintf(`{"from":%q}`, from)))
			}
		}
	}
	won := ""
	for from, sent := range answers {
		for _, c := range sent {
			got := harness.Receive(t, "an answer", c)
			switch {
			case got.err == nil && won == "":
				won = from
			case !hasCode(got.err, "agent.exists"):
				t.Errorf("%s: %+v, %v (won: %s)", from, got.Receipt, got.err, won)
			}
		}
	}
	if won == "" || fmt.Sprint(has(t, past, "new")) != fmt.Sprint(has(t, past, won)) {
		t.Errorf("%q won; %v", won, has(t, past, "new"))
	}
}
