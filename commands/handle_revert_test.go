package commands_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// values are an agent's values as of a moment.
func values(t *testing.T, p *history.History, agent string, m history.Moment) map[string]string {
	t.Helper()
	recs, err := p.EntriesOf(t.Context(), agent, m.Revision, m.At)
	harness.Must(t, err)
	got := map[string]string{}
	for i := range recs {
		if recs[i].Type == events.StateSet {
			d, err := events.DecodeStateWrite(recs[i].Data)
			harness.Must(t, err)
			got[recs[i].Key] = string(d.Value)
		}
	}
	return got
}

func now() history.Moment { return history.Moment{At: time.Now().Add(time.Hour)} }

func TestRevertOfAnEntry(t *testing.T) {
	e, past := forks(t, 1)
	id := ulid.Make().String()
	set := func(value string) commands.Receipt {
		return e.accepted("", "set", fmt.Sprintf(`{"key":"k","value":%s,"timestamp":"2026-01-01T00:00:00Z","strategy":"last_write_wins"}`, value))
	}
	e.accepted("", "set", `{"key":"other","value":0}`)
	set(`{ "n" : 1.50 }`)
	second := set(`2`)
	deleted := e.accepted("", "delete", `{"key":"k","strategy":"last_write_wins"}`)
	set(`"` + strings.Repeat("x", 2000) + `"`)
	then := time.Now().UTC()
	fifth := set(`5`)

	first := e.accepted(id, "revert", `{"key":"k","to_version":1,"reason":"it was right"}`)
	if first.Version != 6 || first.Key != "k" || first.Keys != nil || strings.Contains(string(first.Encode()), `"value"`) {
		t.Errorf("%s", first.Encode())
	}
	recs := e.stored(events.StateEntry("a1", "k"))
	last := recs[len(recs)-1]
	if got := string(last.Data); !strings.HasPrefix(got, `{"value":{ "n" : 1.50 },"strategy":"last_write_wins"`) ||
		!strings.HasSuffix(got, `,"reverted":{"version":1,"revision":2,"to_version":1,"reason":"it was right"}}`) {
		t.Errorf("stored %s", got)
	}
	if !last.Timestamp.After(recs[4].Timestamp) {
		t.Errorf("a later write with the same timestamp as before would lose: %s", last.Timestamp)
	}
	e.replays(id, "revert", `{"key":"k","to_version":1,"reason":"it was right"}`, first)
	e.refused(id, "revert", `{"key":"k","to_version":2}`, domain.Conflict, "command.id_reused")

	for _, c := range []struct{ body, want string }{
		{fmt.Sprintf(`{"key":"k","to_revision":%d}`, second.Revision), `2`},
		{fmt.Sprintf(`{"key":"k","to_revision":%d}`, deleted.Revision), ``},
		{fmt.Sprintf(`{"key":"k","to_time":%q}`, then.Format(time.RFC3339Nano)), `"` + strings.Repeat("x", 2000) + `"`},
		{`{"key":"k","to_revision":1}`, ``},
		{fmt.Sprintf(`{"key":"k","to_revision":%d}`, fifth.Revision), `5`},
		{`{"key":"k","to_version":3}`, ``},
		{`{"key":"k","to_version":1}`, `{ "n" : 1.50 }`},
		{`{"key":"k","to_time":"1969-01-01T00:00:00Z"}`, ``},
	} {
		r := e.accepted("", "revert", c.body)
		if got := values(t, past, "a1", now())["k"]; got != c.want {
			t.Errorf("%s: %s", c.body, got)
		}
		again, err := e.do("", "revert", c.body)
		if err != nil || again.Outcome != domain.Unchanged || again.Version != r.Version || again.Revision != r.Revision {
			t.Errorf("%s again: %+v, %v", c.body, again, err)
		}
	}
	if got := values(t, past, "a1", now())["other"]; got != "0" {
		t.Errorf("another entry: %s", got)
	}
}

func TestRevertIsRefused(t *testing.T) {
	e, _ := forks(t, 1)
	e.accepted("", "set", `{"key":"k","value":1}`)
	e.accepted("", "set", `{"key":"k","value":2}`)
	for body, want := range map[string]struct {
		kind domain.Kind
		code string
	}{
		`{"key":"none","to_version":1}`:                   {domain.NotFound, "state.not_found"},
		`{"key":"none","to_revision":1}`:                  {domain.NotFound, "state.not_found"},
		`{"key":"k","to_version":9}`:                      {domain.NotFound, "state.version_not_found"},
		`{"key":"k","to_revision":9}`:                     {domain.Invalid, "revision.future"},
		`{"to_revision":9}`:                               {domain.Invalid, "revision.future"},
		`{"to_time":"2101-01-01T00:00:00Z"}`:              {domain.Invalid, "timestamp.future"},
		`{"key":"k","to_version":1,"expected_version":1}`: {domain.Conflict, "state.conflict"},
		`{"key":"k","to_version":2,"expected_version":1}`: {domain.Conflict, "state.conflict"},
	} {
		e.refused("", "revert", body, want.kind, want.code)
	}
	if _, err := e.to("a2", "", "revert", `{"to_revision":1}`); !hasCode(err, "agent.not_found") {
		t.Errorf("of an agent without entries: %v", err)
	}
	losers := e.stored(events.EntryConflicts("a1", "k"))
	if len(losers) != 2 || !strings.Contains(string(losers[0].Data), `"verb":"revert"`) {
		t.Errorf("%d losing writes", len(losers))
	}
	if r := e.accepted("", "revert", `{"key":"k","to_version":1,"expected_version":2}`); r.Version != 3 {
		t.Errorf("%+v", r)
	}
	without := newEngine(t, e.journal, commands.Config{})
	without.refused("", "revert", `{"key":"k","to_version":1}`, domain.Unavailable, "journal.unavailable")
	without.refused("", "revert", `{"to_revision":1}`, domain.Unavailable, "journal.unavailable")
}

// A revert in an atomic batch takes effect with the rest or not at all.
func TestRevertInAnAtomicBatch(t *testing.T) {
	e, past := forks(t, 1)
	e.accepted("", "set", `{"key":"k","value":1}`)
	e.accepted("", "set", `{"key":"k","value":2}`)
	batch := func(body string) ([]commands.Result, error) {
		type answer struct {
			results []commands.Result
			err     error
		}
		answers := make(chan answer, 1)
		e.HandleBatch(t.Context(), "", []byte(body), func(s string) string { return s }, func(r []commands.Result, err error) { answers <- answer{r, err} })
		a := harness.Receive(t, "an answer", answers)
		return a.results, a.err
	}
	const both = `{"atomic":true,"commands":[{"subject":"agent.a1.set","id":"b1","body":{"key":"k","value":3}},{"subject":"agent.a1.revert","id":"b2","body":{"key":"k","to_version":1}}]}`
	got, err := batch(both)
	if err != nil || got[1].Receipt.Version != 4 || values(t, past, "a1", now())["k"] != "1" {
		t.Errorf("%+v, %v", got, err)
	}
	if again, err := batch(both); err != nil || !again[1].Receipt.Replayed {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := batch(`{"atomic":true,"commands":[{"subject":"agent.a1.set","body":{"key":"k","value":9}},{"subject":"agent.a1.revert","body":{"key":"k","to_version":99}}]}`); !hasCode(err, "state.version_not_found") {
		t.Errorf("%v", err)
	}
	if _, err := batch(`{"atomic":true,"commands":[{"subject":"agent.a1.revert","body":{"to_revision":1}}]}`); !hasCode(err, "batch.not_atomic") {
		t.Errorf("%v", err)
	}
}

func TestRevertOfAnAgent(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		e, past := forks(t, partitions)
		e.write("a1", 1, 5)
		if _, err := e.to("a1", "", "delete", `{"key":"k4","strategy":"last_write_wins"}`); err != nil {
			t.Fatal(err)
		}
		then := history.Moment{At: time.Now().UTC()}
		want := values(t, past, "a1", then)
		e.write("a1", 2, 2)
		for verb, body := range map[string]string{"delete": `{"key":"k2","strategy":"last_write_wins"}`, "set": `{"key":"new","value":1}`} {
			if _, err := e.to("a1", "", verb, body); err != nil {
				t.Fatal(err)
			}
		}
		body := fmt.Sprintf(`{"to_time":%q,"reason":"a bad run"}`, then.At.Format(time.RFC3339Nano))
		id := ulid.Make().String()
		r, err := e.to("a1", id, "revert", body)
		if err != nil || r.Outcome != domain.Accepted || *r.Keys != 4 || r.Version != 1 || r.Key != "" {
			t.Fatalf("%s, %v", r.Encode(), err)
		}
		if got := values(t, past, "a1", now()); !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if got := values(t, past, "a1", history.Moment{Revision: r.Revision}); !maps.Equal(got, want) {
			t.Errorf("at the revision of the receipt: %v, want %v", got, want)
		}
		life := e.stored(events.Lifecycle("a1"))
		if len(life) != 1 || life[0].Type != events.Reverted || !strings.Contains(string(life[0].Data), `"reason":"a bad run","reverted":{"to_time":`) ||
			life[0].Revision != r.Revision-4 {
			t.Errorf("%+v", life)
		}
		again, err := e.to("a1", id, "revert", body)
		if again.Replayed, r.Replayed = false, false; err != nil || string(again.Encode()) != string(r.Encode()) {
			t.Errorf("again %s, %v", again.Encode(), err)
		}
		if same, err := e.to("a1", "", "revert", body); err != nil || same.Outcome != domain.Unchanged || *same.Keys != 0 {
			t.Errorf("the same point: %s, %v", same.Encode(), err)
		}
		if _, err := e.to("a1", id, "revert", `{"to_revision":1}`); !hasCode(err, "command.id_reused") {
			t.Errorf("another point: %v", err)
		}
		if r, err := e.to("a1", "", "revert", `{"to_revision":0}`); err != nil || *r.Keys != 4 || len(values(t, past, "a1", now())) > 0 {
			t.Errorf("before the first event: %s, %v", r.Encode(), err)
		}
	}
}

// A large revert takes several batches. Repeated after an interruption it continues
// where it stopped; a write after its own event of an entry stays.
func TestAnInterruptedRevertContinues(t *testing.T) {
	const keys = 2000
	for name, journal := range map[string]cutOff{"before the first": {left: 1}, "between": {left: 2}, "before the last": {left: 3}, "in the answer": {left: 3, lost: true}} {
		t.Run(name, func(t *testing.T) {
			e, past := forks(t, 1)
			appendEntries(t, past, keys, 1, 0)
			head, err := past.Head(t.Context(), 0)
			harness.Must(t, err)
			want := values(t, past, "origin", history.Moment{Revision: head})
			appendEntries(t, past, keys, 2, head-keys)
			journal.Journal = past
			broken := newEngine(t, &journal, commands.Config{Past: past})
			id, body := ulid.Make().String(), fmt.Sprintf(`{"to_revision":%d}`, head)
			if r, err := broken.to("origin", id, "revert", body); err == nil {
				t.Fatalf("%+v", r)
			}
			if journal.left < 0 {
				t.Fatal("it continued after the failure")
			}
			if name != "before the first" {
				e.write("origin", 9, 1) // k0 is in the first batch
				want["k0"] = `[ 9 ]`
				if _, err := e.to("origin", "", "set", `{"key":"later","value":1}`); err != nil {
					t.Fatal(err)
				}
				want["later"] = "1"
			}
			r, err := e.to("origin", id, "revert", body)
			if err != nil || *r.Keys != keys || r.Replayed != journal.lost {
				t.Fatalf("%s, %v", r.Encode(), err)
			}
			if got := values(t, past, "origin", now()); !maps.Equal(got, want) {
				t.Errorf("%d keys of %d, or others", len(got), len(want))
			}
			if n := len(e.stored(events.Lifecycle("origin"))); n != 2 {
				t.Errorf("%d events of the lifecycle", n)
			}
			if other, err := e.to("origin", id, "revert", body); err != nil || !other.Replayed || *other.Keys != keys || other.Revision != r.Revision {
				t.Errorf("again: %s, %v", other.Encode(), err)
			}
		})
	}
}

// appendEntries appends a version of each of the entries k0, k1, … of the agent origin.
// after is the revision before the last version of k0; 0 = there is none.
func appendEntries(t *testing.T, past *history.History, keys, version int, after uint64) {
	t.Helper()
	for from := 0; from < keys; from += 1000 {
		var writes []history.Write
		for k := from; k < min(from+1000, keys); k++ {
			ev := events.Event{
				Type: events.StateSet, Aggregate: "agent", ID: "origin", Key: fmt.Sprint("k", k), Version: uint64(version), Timestamp: time.Now().UTC(),
				RecordedAt: time.Now().UTC(), CommandID: "c", Schema: events.Schema, Digest: "d",
				Data: (&events.StateWrite{Value: fmt.Append(nil, version*10000+k), Strategy: "timestamp", Request: "r"}).Encode(),
			}
			w := history.Write{Name: events.StateEntry("origin", ev.Key), First: true, Event: &ev}
			if version > 1 {
				w.After = after + uint64(k) + 1
			}
			writes = append(writes, w)
		}
		_, err := past.Append(t.Context(), writes)
		harness.Must(t, err)
	}
}

// A revert of an agent under write load of the same entries takes effect at one revision,
// as long as one engine executes them.
func TestRevertUnderWriters(t *testing.T) {
	e, past := forks(t, 1)
	e.write("a1", 1, 20)
	head, err := past.Head(t.Context(), 0)
	harness.Must(t, err)
	want := values(t, past, "a1", history.Moment{Revision: head})
	other := newEngine(t, past, commands.Config{Past: past})
	var answered atomic.Int64
	// written waits until a write has begun and ended since: of those that are counted, one
	// for each writer may have ended before.
	written := func() {
		t.Helper()
		enough := answered.Load() + 10
		harness.Eventually(t, "writes", func() bool { return answered.Load() > enough })
	}
	load := func(writers ...*engine) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for w, on := range writers {
			running.Go(func() {
				pace := time.NewTicker(20 * time.Millisecond)
				defer pace.Stop()
				for n := 0; ctx.Err() == nil; n++ {
					if on == other { // each of its writes costs the revert an attempt
						<-pace.C
					}
					got := harness.Receive(t, "an answer", on.send("", "a1", "set", fmt.Sprintf(`{"key":"k%d","value":%d}`, (w+n)%20, n)))
					switch {
					case got.err == nil:
						answered.Add(1)
					case !hasCode(got.err, "state.contended"):
						t.Error(got.err)
					}
				}
			})
		}
		return func() { cancel(); running.Wait() }
	}
	body := fmt.Sprintf(`{"to_revision":%d}`, head)
	stop := load(e, e, e, e, e, e, e, e)
	for range 10 {
		written()
		r, err := e.to("a1", "", "revert", body)
		if err != nil || *r.Keys == 0 {
			t.Errorf("%s, %v", r.Encode(), err)
			continue
		}
		if got := values(t, past, "a1", history.Moment{Revision: r.Revision}); !maps.Equal(got, want) {
			t.Errorf("after the revert: %v", got)
		}
	}
	stop()
	stop = load(e, e, other)
	for range 5 {
		written()
		if r, err := e.to("a1", "", "revert", body); err != nil || *r.Keys == 0 {
			t.Errorf("%s, %v", r.Encode(), err)
		}
	}
	stop()
	if _, err := other.to("a1", "", "revert", body); err != nil || !maps.Equal(values(t, past, "a1", now()), want) {
		t.Errorf("in the end: %v, %v", err, values(t, past, "a1", now()))
	}
}
