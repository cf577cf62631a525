package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

var (
	base = time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC)
	now  = base.Add(time.Minute)

	never   = agent.Entry{}
	living  = agent.Entry{Version: 3, Exists: true, Value: []byte(`1`), Timestamp: base, Writer: "m", CommandID: "C5"}
	deleted = agent.Entry{Version: 4, Timestamp: base, Writer: "m", CommandID: "C5"}
)

const revision = 77 // of the entry's last event, in all cases

// The columns that cases are written in.
const (
	lww    = agent.LastWriteWins
	stamp  = agent.Timestamp
	reject = agent.Reject
)

func set(s agent.Strategy) agent.Write {
	return agent.Write{Agent: "a1", Key: "k", Value: []byte(`2`), Strategy: s, Writer: "w", Request: "req"}
}

func del(s agent.Strategy) agent.Write {
	w := set(s)
	w.Delete, w.Value = true, nil
	return w
}

func expecting(w agent.Write, v uint64) agent.Write { w.ExpectedVersion = &v; return w }

func at(w agent.Write, t time.Time) agent.Write { w.Timestamp = t; return w }

func by(w agent.Write, writer string) agent.Write { w.Writer = writer; return w }

func TestGivenEntryWhenWriteThen(t *testing.T) {
	const accepted, superseded, conflict, missing = "accepted", "superseded", "state.conflict", "state.not_found"
	later, earlier := base.Add(1), base.Add(-1)
	for _, c := range []struct {
		name  string
		given agent.Entry
		when  agent.Write
		then  string // the outcome, or the refusal's code
	}{
		{"last write wins: first", never, set(lww), accepted},
		{"last write wins: again", living, set(lww), accepted},
		{"last write wins: older timestamp", living, at(set(lww), earlier), accepted},
		{"last write wins: after deletion", deleted, set(lww), accepted},
		{"last write wins: delete", living, del(lww), accepted},
		{"last write wins: delete by an older timestamp", living, at(del(lww), earlier), accepted},
		{"last write wins: delete what never was", never, del(lww), missing},
		{"last write wins: delete what never was, timed", never, at(del(lww), later), missing},
		{"last write wins: delete what is deleted", deleted, del(lww), missing},

		{"timestamp: first", never, set(stamp), accepted},
		{"timestamp: first, however old", never, at(set(stamp), time.Unix(0, 0).UTC()), accepted},
		{"timestamp: the engine's clock, later", living, set(stamp), accepted},
		{"timestamp: one nanosecond later", living, at(set(stamp), later), accepted},
		{"timestamp: one nanosecond earlier", living, at(set(stamp), earlier), superseded},
		{"timestamp: equal, greater writer", living, at(by(set(stamp), "n"), base), accepted},
		{"timestamp: equal, lesser writer", living, at(by(set(stamp), "a"), base), superseded},
		{"timestamp: equal, no writer", living, at(by(set(stamp), ""), base), superseded},
		{"timestamp: equal, same writer, greater id", withID(living, "C0"), at(by(set(stamp), "m"), base), accepted},
		{"timestamp: equal, same writer, lesser id", withID(living, "C9"), at(by(set(stamp), "m"), base), superseded},
		{"timestamp: equal in all", withID(living, "C1"), at(by(set(stamp), "m"), base), superseded},
		{"timestamp: delete later", living, at(del(stamp), later), accepted},
		{"timestamp: delete earlier", living, at(del(stamp), earlier), superseded},
		{"timestamp: delete by the engine's clock", living, del(stamp), accepted},
		{"timestamp: delete what never was", never, del(stamp), missing},
		{"timestamp: delete what never was, timed, buries", never, at(del(stamp), earlier), accepted},
		{"timestamp: delete what is deleted", deleted, del(stamp), missing},
		{"timestamp: delete what is deleted, later, buries", deleted, at(del(stamp), later), accepted},
		{"timestamp: delete what is deleted, earlier", deleted, at(del(stamp), earlier), superseded},
		{"timestamp: after deletion, later", deleted, at(set(stamp), later), accepted},
		{"timestamp: after deletion, earlier", deleted, at(set(stamp), earlier), superseded},

		{"reject: first", never, set(reject), accepted},
		{"reject: exists", living, set(reject), conflict},
		{"reject: after deletion", deleted, set(reject), accepted},
		{"reject: delete what exists", living, del(reject), conflict},
		{"reject: delete what never was", never, del(reject), missing},
		{"reject: expected", living, expecting(set(reject), 3), accepted},
		{"reject: delete expected", living, expecting(del(reject), 3), accepted},

		{"expected 0: first", never, expecting(set(lww), 0), accepted},
		{"expected 0: exists", living, expecting(set(lww), 0), conflict},
		{"expected 0: deleted", deleted, expecting(set(lww), 0), accepted},
		{"expected 0: exists, timestamp", living, at(expecting(set(stamp), 0), later), conflict},
		{"expected 0: exists, reject", living, expecting(set(reject), 0), conflict},
		{"expected 0: delete what never was", never, expecting(del(lww), 0), missing},
		{"expected equal: last write wins", living, expecting(set(lww), 3), accepted},
		{"expected equal: deleted", deleted, expecting(set(lww), 4), accepted},
		{"expected equal: delete", living, expecting(del(lww), 3), accepted},
		{"expected equal: delete what is deleted", deleted, expecting(del(lww), 4), missing},
		{"expected equal: timestamp later", living, at(expecting(set(stamp), 3), later), accepted},
		{"expected equal: timestamp earlier", living, at(expecting(set(stamp), 3), earlier), superseded},
		{"expected other: never", never, expecting(set(lww), 1), conflict},
		{"expected other: older", living, expecting(set(lww), 2), conflict},
		{"expected other: newer", living, expecting(set(lww), 4), conflict},
		{"expected other: greatest", living, expecting(set(lww), 1<<64-1), conflict},
		{"expected other: deleted", deleted, expecting(set(lww), 3), conflict},
		{"expected other: delete", living, expecting(del(lww), 2), conflict},
		{"expected other: delete what never was", never, expecting(del(lww), 1), conflict},
		{"expected other: timestamp", living, at(expecting(set(stamp), 2), later), conflict},
		{"expected other: reject", living, expecting(set(reject), 2), conflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := agent.DecideEntry(c.given, c.when, domain.Metadata{Now: now, CommandID: "C1", Revision: revision})
			switch c.then {
			case accepted:
				wantWrite(t, d, c.when)
			case superseded:
				wantLoss(t, d, c.given, c.when, "")
			case conflict:
				wantLoss(t, d, c.given, c.when, conflict)
			case missing:
				if d.Refusal == nil || d.Refusal.Kind != domain.NotFound || d.Refusal.Code != missing || d.Loss != nil || d.Events != nil {
					t.Errorf("got %+v", d)
				}
			}
		})
	}
}

func withID(e agent.Entry, id string) agent.Entry { e.CommandID = id; return e }

func wantWrite(t *testing.T, d domain.Decision, w agent.Write) {
	t.Helper()
	if d.Outcome != domain.Accepted || len(d.Events) != 1 || d.Loss != nil || d.Refusal != nil {
		t.Fatalf("got %+v", d)
	}
	typ, data := events.StateSet, events.StateWrite{Value: w.Value, Strategy: string(w.Strategy), Request: "req"}
	if w.Delete {
		typ = events.StateDeleted
	}
	wantEvent(t, d.Events[0], w, typ, string(data.Encode()))
}

func wantLoss(t *testing.T, d domain.Decision, given agent.Entry, w agent.Write, code string) {
	t.Helper()
	if len(d.Events) > 0 || d.Loss == nil || (code == "") != (d.Outcome == domain.Superseded) || (code == "") != (d.Refusal == nil) {
		t.Fatalf("got %+v", d)
	}
	typ, verb, loss := events.StateSuperseded, "set", events.StateLoss{}
	if code != "" {
		typ, loss.Reason, loss.Message = events.StateRejected, d.Refusal.Code, d.Refusal.Message
		if d.Refusal.Kind != domain.Conflict || d.Refusal.Code != code ||
			d.Refusal.Details["version"] != given.Version || d.Refusal.Details["revision"] != uint64(revision) {
			t.Errorf("refused with %+v", d.Refusal)
		}
		if !strings.Contains(d.Refusal.Message, "a1.k") {
			t.Errorf("%q names no place", d.Refusal.Message)
		}
	}
	if w.Delete {
		verb = "delete"
	}
	loss.Verb, loss.Value, loss.Strategy, loss.Request = verb, w.Value, string(w.Strategy), "req"
	loss.CurrentVersion, loss.CurrentRevision = given.Version, revision
	wantEvent(t, *d.Loss, w, typ, string(loss.Encode()))
}

func wantEvent(t *testing.T, ev events.Event, w agent.Write, typ, data string) {
	t.Helper()
	ts := w.Timestamp
	if ts.IsZero() {
		ts = now
	}
	if ev.Type != typ || ev.Aggregate != "agent" || ev.ID != "a1" || ev.Key != "k" || ev.Writer != w.Writer ||
		!ev.Timestamp.Equal(ts) || string(ev.Data) != data {
		t.Errorf("got %s\nwant %s %s at %s", ev.Encode(), typ, data, ts)
	}
}

func TestStrategiesByName(t *testing.T) {
	for _, good := range []agent.Strategy{lww, stamp, reject} {
		if got, err := agent.ParseStrategy(string(good)); got != good || err != nil {
			t.Errorf("%s: %s, %v", good, got, err)
		}
	}
	for _, bad := range []string{"", "LWW", "Timestamp", "last-write-wins", "merge"} {
		if _, err := agent.ParseStrategy(bad); err == nil || !strings.Contains(err.Error(), "strategy.unknown") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestEvolveIgnoresWhatItDoesNotKnow(t *testing.T) {
	for _, typ := range []string{"", "agent.hydrated", events.StateSuperseded, events.StateRejected} {
		got, err := agent.EvolveEntry(living, &events.Event{Type: typ, Version: 9, Data: []byte(`{"value":5}`)})
		if err != nil || got.Version != living.Version || string(got.Value) != "1" {
			t.Errorf("%s: %+v, %v", typ, got, err)
		}
	}
}

// TestAnUnstampedWriteNeverLosesToAnEarlierOne: clocks of engines differ and step
// back, ids are in no order, and a client stamps at the edge of the allowed skew.
func TestAnUnstampedWriteNeverLosesToAnEarlierOne(t *testing.T) {
	clocks := []time.Duration{0, 2 * time.Second, 0, -30 * time.Second, -30 * time.Second, time.Hour, 0, 0}
	for _, s := range []agent.Strategy{lww, stamp} {
		e, last := agent.Entry{}, time.Time{}
		for i, clock := range clocks {
			w := by(set(s), strings.Repeat("z", len(clocks)-i))
			if i == 5 { // the client's own stamp, ahead of every clock that follows
				w = at(w, base.Add(5*time.Second))
			}
			if i == 6 {
				w = by(del(s), "")
			}
			d := agent.DecideEntry(e, w, domain.Metadata{Now: base.Add(clock), CommandID: strings.Repeat("z", len(clocks)-i)})
			if d.Outcome != domain.Accepted || len(d.Events) != 1 {
				t.Fatalf("%s: write %d: %+v", s, i, d)
			}
			ev := d.Events[0]
			if ev.Version = e.Version + 1; !ev.Timestamp.After(last) {
				t.Errorf("%s: write %d is at %s, after one at %s", s, i, ev.Timestamp, last)
			}
			last = ev.Timestamp
			var err error
			if e, err = agent.EvolveEntry(e, &ev); err != nil {
				t.Fatal(err)
			}
		}
		if want := base.Add(5*time.Second + 2); last != want {
			t.Errorf("%s: the last write is at %s, want %s", s, last, want)
		}
	}
}
