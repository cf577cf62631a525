package agent_test

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

func BenchmarkDecideEntry(b *testing.B) {
	w := set(stamp)
	w.Value = []byte(`"` + strings.Repeat("v", 254) + `"`)
	meta := domain.Metadata{Now: now, CommandID: "C9", Revision: revision}
	b.ReportAllocs()
	for b.Loop() {
		if d := agent.DecideEntry(living, w, meta); len(d.Events) != 1 {
			b.Fatal(d.Refusal)
		}
	}
}

func BenchmarkEvolveEntry(b *testing.B) {
	write := events.StateWrite{Value: []byte(`"` + strings.Repeat("v", 254) + `"`), Strategy: "timestamp", Request: "req"}
	ev := events.Event{Type: events.StateSet, Version: 4, Timestamp: base, Data: write.Encode()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := agent.EvolveEntry(agent.Entry{}, &ev); err != nil {
			b.Fatal(err)
		}
	}
}
