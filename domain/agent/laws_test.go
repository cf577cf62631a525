package agent_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/events"
)

func TestLaws(t *testing.T) {
	domaintest.Aggregate[agent.Entry, agent.Write]{
		Evolve:  agent.EvolveEntry,
		Decide:  agent.DecideEntry,
		Command: drawAnyWrite,
		Version: func(e agent.Entry) uint64 { return e.Version },
		Types:   []string{events.StateSet, events.StateDeleted, events.StateSuperseded, events.StateRejected},
	}.Laws(t)
}

func TestLifecycleLaws(t *testing.T) {
	types := []string{
		events.HydrationStarted, events.Hydrated, events.HydrationFailed, events.FlushStarted, events.Flushed, events.FlushFailed,
		events.Expired, events.Retired, events.Forked, events.RevertStarted, events.Reverted,
	}
	domaintest.Aggregate[agent.Lifecycle, agent.Change]{
		Evolve: agent.EvolveLifecycle,
		Decide: agent.DecideLifecycle,
		Command: func(t *rapid.T) agent.Change {
			return agent.Change{Agent: "a1", Begun: rapid.Bool().Draw(t, "begun"), Type: rapid.SampledFrom(types).Draw(t, "type"), Data: events.LifecycleChange{
				Reason: rapid.SampledFrom([]string{"", "idle", "w\u00e9"}).Draw(t, "reason"), Request: "r",
				Keys: rapid.SliceOfN(rapid.SampledFrom([]string{"k", "k.l"}), 0, 3).Draw(t, "keys"),
			}}
		},
		Load:  domain.CarriedState[agent.Lifecycle],
		Types: types,
	}.Laws(t)
}

// drawAnyWrite draws a write that may compute or revert.
func drawAnyWrite(t *rapid.T) agent.Write {
	w := drawWrite(t)
	if rapid.Bool().Draw(t, "revert") {
		w.Strategy, w.Timestamp, w.Reverted = "", time.Time{}, &events.Reversion{Version: 1, Revision: 7}
		return w
	}
	if w.Delete || rapid.Bool().Draw(t, "plain") {
		return w
	}
	w.Computation, w.MaxValue = rapid.SampledFrom([]agent.Computation{
		agent.Merge{}, agent.Add{}, agent.Add{Min: "-1", Max: "3"}, agent.Append{}, agent.Append{MaxItems: 2},
	}).Draw(t, "computation"), 50
	w.Value = map[string][]byte{"merge": []byte(`{"a":1,"b":{"a":null}}`), "add": []byte(`1.25`), "append": []byte(`[1,"x"]`)}[w.Computation.Verb()]
	w.Strategy, w.Timestamp = "", time.Time{}
	return w
}

func drawWrite(t *rapid.T) agent.Write {
	w := agent.Write{
		Agent: "a1", Key: "k", Delete: rapid.Bool().Draw(t, "delete"),
		Strategy: rapid.SampledFrom([]agent.Strategy{agent.LastWriteWins, agent.Timestamp, agent.Reject}).Draw(t, "strategy"),
		Writer:   rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "writer"),
		Request:  "r",
	}
	if !w.Delete {
		w.Value = drawValue(t)
	}
	if rapid.Bool().Draw(t, "timed") {
		w.Timestamp = domaintest.Time(t, "timestamp")
	}
	if rapid.Bool().Draw(t, "expecting") {
		expected := rapid.Uint64Range(0, 5).Draw(t, "expected version")
		w.ExpectedVersion = &expected
	}
	return w
}

func drawValue(t *rapid.T) []byte {
	return []byte(rapid.SampledFrom([]string{
		`1`, `1.50`, `null`, `"x"`, `{ "b" : 1 , "a" : [ ] }`, `12345678901234567890`, `"\u0041\/"`, `[]`,
	}).Draw(t, "value"))
}
