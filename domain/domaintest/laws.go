// Package domaintest has the laws that every decider obeys, as property tests. An
// aggregate's tests describe it once and call Laws.
package domaintest

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Aggregate describes a decider: S is its state, whose zero value is that before
// the first event, and C its command.
type Aggregate[S, C any] struct {
	Evolve  func(S, *events.Event) (S, error)
	Decide  func(S, C, domain.Metadata) domain.Decision
	Command func(*rapid.T) C // draws a command on the one aggregate tested
	Types   []string         // of the aggregate's events

	Load    func(*events.Event) (S, error) // the state from its last event alone; nil = Evolve from zero
	Version func(S) uint64                 // the number of events in the state; nil = it does not count them
}

// Laws checks them all.
func (a Aggregate[S, C]) Laws(t *testing.T) {
	for name, law := range map[string]func(*rapid.T){
		"deciding is deterministic":            a.deterministic,
		"deciding leaves its input alone":      a.leavesInputAlone,
		"a decision is one of its four kinds":  a.wellFormed,
		"versions are dense":                   a.dense,
		"the last event carries the state":     a.carried,
		"a fold splits anywhere, through JSON": a.splits,
		"evolving never panics":                a.total,
	} {
		t.Run(name, func(t *testing.T) { rapid.Check(t, law) })
	}
}

// Metadata draws the metadata of a decision, at a time near the drawn ones.
func Metadata(t *rapid.T) domain.Metadata {
	return domain.Metadata{
		Now:       Time(t, "now"),
		CommandID: rapid.StringMatching(`[A-Z0-9]{1,4}`).Draw(t, "command id"),
		Revision:  rapid.Uint64Range(0, 1000).Draw(t, "revision"),
		Version:   rapid.Uint64Range(0, 1000).Draw(t, "version"),
	}
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Time draws from few times, some one nanosecond apart, so that equal ones occur.
func Time(t *rapid.T, label string) time.Time {
	return epoch.Add(rapid.SampledFrom([]time.Duration{
		0, 1, 2, 999, time.Microsecond, time.Second, -time.Second, time.Hour, 24 * time.Hour,
	}).Draw(t, label))
}

// history draws and executes commands. It returns all events in order, and the
// states before the first and after each.
func (a Aggregate[S, C]) history(t *rapid.T) ([]events.Event, []S) {
	var state S
	var evs []events.Event
	states := []S{state}
	for range rapid.IntRange(0, 20).Draw(t, "commands") {
		meta := Metadata(t)
		for _, ev := range a.Decide(state, a.Command(t), meta).Events {
			ev.Version, ev.RecordedAt = uint64(len(evs))+1, meta.Now
			ev.CommandID, ev.Schema, ev.Digest = meta.CommandID, events.Schema, "d"
			ev = throughJSON(t, ev)
			state = a.evolve(t, state, &ev)
			evs, states = append(evs, ev), append(states, state)
		}
	}
	return evs, states
}

func throughJSON(t *rapid.T, ev events.Event) events.Event {
	got, err := events.Decode(ev.Encode())
	if err != nil {
		t.Fatalf("%s: %v", ev.Encode(), err)
	}
	return got
}

func (a Aggregate[S, C]) evolve(t *rapid.T, s S, ev *events.Event) S {
	next, err := a.Evolve(s, ev)
	if err != nil {
		t.Fatalf("evolve %s: %v", ev.Encode(), err)
	}
	return next
}

func (a Aggregate[S, C]) deterministic(t *rapid.T) {
	_, states := a.history(t)
	state, cmd, meta := states[len(states)-1], a.Command(t), Metadata(t)
	same(t, "the second decision", a.Decide(state, cmd, meta), a.Decide(state, cmd, meta))
}

func (a Aggregate[S, C]) leavesInputAlone(t *rapid.T) {
	evs, states := a.history(t)
	state, cmd, meta := states[len(states)-1], a.Command(t), Metadata(t)
	wantState, wantCmd := deepCopy(state), deepCopy(cmd)
	d := a.Decide(state, cmd, meta)
	for _, ev := range append(d.Events, losses(d)...) {
		clear(ev.Data) // changing the decision must not change the input either
	}
	same(t, "the state", state, wantState)
	same(t, "the command", cmd, wantCmd)
	for i := range evs {
		wantEvent, wantState := deepCopy(evs[i]), deepCopy(states[i])
		_ = a.evolve(t, states[i], &evs[i])
		same(t, "the evolved event", evs[i], wantEvent)
		same(t, "the evolved state", states[i], wantState)
	}
}

func losses(d domain.Decision) []events.Event {
	if d.Loss == nil {
		return nil
	}
	return []events.Event{*d.Loss}
}

func (a Aggregate[S, C]) wellFormed(t *rapid.T) {
	_, states := a.history(t)
	d := a.Decide(states[len(states)-1], a.Command(t), Metadata(t))
	switch {
	case d.Refusal != nil && (len(d.Events) > 0 || d.Outcome != ""):
		t.Fatalf("refused, with %d events and outcome %q", len(d.Events), d.Outcome)
	case d.Refusal != nil && (d.Refusal.Code == "" || d.Refusal.Message == "" || d.Refusal.Kind.Status() == 500):
		t.Fatalf("no caller can act on %v", d.Refusal)
	case d.Refusal == nil && (d.Outcome == domain.Accepted) != (len(d.Events) > 0):
		t.Fatalf("%q with %d events", d.Outcome, len(d.Events))
	case d.Refusal == nil && (d.Outcome == domain.Superseded) != (d.Loss != nil):
		t.Fatalf("%q with the loss %v", d.Outcome, d.Loss)
	}
	for _, ev := range d.Events {
		if ev.Type == "" || ev.Aggregate == "" || ev.ID == "" || !jsontext.Value(ev.Data).IsValid() {
			t.Fatalf("%s is not a complete event", ev.Encode())
		}
	}
}

// load is the state as an engine loads it: from the last event, as stored.
func (a Aggregate[S, C]) load(t *rapid.T, ev events.Event) S {
	t.Helper()
	ev = throughJSON(t, ev)
	if a.Load == nil {
		var zero S
		return a.evolve(t, zero, &ev)
	}
	state, err := a.Load(&ev)
	if err != nil {
		t.Fatalf("load %s: %v", ev.Encode(), err)
	}
	return state
}

func (a Aggregate[S, C]) dense(t *rapid.T) {
	_, states := a.history(t)
	if a.Version == nil {
		return
	}
	for i, s := range states {
		if a.Version(s) != uint64(i) {
			t.Fatalf("after %d events the version is %d", i, a.Version(s))
		}
	}
}

func (a Aggregate[S, C]) carried(t *rapid.T) {
	evs, states := a.history(t)
	for i := range evs {
		same(t, fmt.Sprintf("the state of event %d alone", i+1), a.load(t, evs[i]), states[i+1])
	}
}

func (a Aggregate[S, C]) splits(t *rapid.T) {
	evs, states := a.history(t)
	at := rapid.IntRange(0, len(evs)).Draw(t, "split")
	var state S
	if at > 0 {
		state = a.load(t, evs[at-1])
	}
	for i := at; i < len(evs); i++ {
		ev := throughJSON(t, evs[i])
		state = a.evolve(t, state, &ev)
	}
	same(t, fmt.Sprintf("the fold split after %d", at), state, states[len(evs)])
}

func (a Aggregate[S, C]) total(t *rapid.T) {
	_, states := a.history(t)
	state := states[rapid.IntRange(0, len(states)-1).Draw(t, "state")]
	ev := events.Event{
		Type:      rapid.SampledFrom(append([]string{"", "unknown.type"}, a.Types...)).Draw(t, "type"),
		Version:   rapid.Uint64().Draw(t, "version"),
		Timestamp: Time(t, "timestamp"),
		Data: rapid.OneOf(
			rapid.SliceOf(rapid.Byte()),
			rapid.Map(rapid.SampledFrom([]string{
				`null`, `{}`, `[]`, `1`, `""`, `{"value":null}`, `{"value":{}`, `{"value":1,"value":2}`, `{"strategy":[]}`,
			}), func(s string) []byte { return []byte(s) }),
		).Draw(t, "data"),
	}
	_, _ = a.Evolve(state, &ev)
	if a.Load != nil {
		ev.State = ev.Data
		_, _ = a.Load(&ev)
	}
}

func same(t *rapid.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %+v, want %+v", what, got, want)
	}
}
