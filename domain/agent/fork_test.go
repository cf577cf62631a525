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

func fork(keys ...string) agent.Fork {
	f := agent.Fork{Agent: "b", Origin: events.Origin{Agent: "a", Partition: 2, Revision: 17}, Copied: map[string]bool{}, Request: "r"}
	for _, k := range keys {
		f.Entries = append(f.Entries, agent.Copy{
			Key: k, Value: []byte(`{ "n":1.50 }`), Strategy: "timestamp", Timestamp: now.Add(-time.Hour), Writer: "w",
		})
	}
	return f
}

func TestForkIsRefused(t *testing.T) {
	begun := fork("k")
	begun.Copied["k"] = true
	foreign := fork("k")
	foreign.Foreign = "x"
	for name, c := range map[string]struct {
		l    agent.Lifecycle
		f    agent.Fork
		kind domain.Kind
		code string
	}{
		"nothing to fork":       {agent.Lifecycle{}, fork(), domain.NotFound, "agent.not_found"},
		"a foreign key":         {agent.Lifecycle{}, foreign, domain.Rejected, "agent.exists"},
		"a lifecycle":           {agent.Lifecycle{Phase: agent.Active}, fork("k"), domain.Rejected, "agent.exists"},
		"a retired one":         {agent.Lifecycle{Phase: agent.Cold, Since: now}, fork("k"), domain.Rejected, "agent.exists"},
		"a lifecycle of itself": {agent.Lifecycle{Phase: agent.Hydrating}, begun, "", ""},
	} {
		copies, d := agent.DecideFork(c.l, c.f, domain.Metadata{Now: now})
		if c.code == "" {
			if d.Refusal != nil || len(copies) != 0 || len(d.Events) != 1 {
				t.Errorf("%s: %+v", name, d)
			}
			continue
		}
		if d.Refusal == nil || d.Refusal.Kind != c.kind || d.Refusal.Code != c.code || len(copies)+len(d.Events) > 0 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// Whatever a first try had copied, the fork has each entry once, as it was, and
// one event that names the origin.
func TestForkCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := fork(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c.d", "e/"}), 1, 4, rapid.ID).Draw(t, "keys")...)
		for _, c := range f.Entries {
			if rapid.Bool().Draw(t, "copied") {
				f.Copied[c.Key] = true
			}
		}
		copies, d := agent.DecideFork(agent.Lifecycle{}, f, domaintest.Metadata(t))
		if d.Refusal != nil || len(copies) != len(f.Entries)-len(f.Copied) || len(d.Events) != 1 {
			t.Fatalf("%d copies, %+v", len(copies), d)
		}
		for i := range copies {
			ev := &copies[i]
			e, err := agent.EvolveEntry(agent.Entry{}, ev)
			w, _ := events.DecodeStateWrite(ev.Data)
			origin, _ := events.DecodeOrigin(w.Origin)
			if err != nil || f.Copied[ev.Key] || ev.ID != "b" || ev.Home() != events.StateEntry("b", ev.Key) ||
				string(e.Value) != `{ "n":1.50 }` || e.Writer != "w" || !e.Timestamp.Equal(now.Add(-time.Hour)) || origin != f.Origin {
				t.Fatalf("%s, %v", ev.Encode(), err)
			}
		}
		l, err := domain.CarriedState[agent.Lifecycle](&d.Events[0])
		if err != nil || l.Phase != agent.Active || d.Events[0].Home() != events.Lifecycle("b") {
			t.Fatalf("%s, %v", d.Events[0].Encode(), err)
		}
	})
}
