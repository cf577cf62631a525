package trace

import (
	"testing"
	"time"
)

// Without a tracer nothing is recorded, nothing is allocated, and the client's context
// reaches the events as it came.
func TestOffCostsNothing(t *testing.T) {
	var off *Tracer
	c := Context{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "a=b"}
	now := time.Now()
	if n := testing.AllocsPerRun(1000, func() {
		span, carried := off.Receive(c, "commands.agent.set", now)
		if carried != c || span.Recording() {
			t.Fatal("something is recorded")
		}
		deciding := off.Begin(carried, "decide")
		deciding.Int("events", 1)
		deciding.End()
		off.Since(carried, "append", now).End()
		off.Batch("batch", now, nil).End()
		span.Text("outcome", "accepted")
		span.Failed("x")
		span.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOff(b *testing.B) {
	var off *Tracer
	c := Context{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		span, carried := off.Receive(c, "commands.agent.set", now)
		off.Begin(carried, "decide").End()
		off.Since(carried, "append", now).End()
		span.End()
	}
}

func TestSampled(t *testing.T) {
	for parent, want := range map[string]bool{
		"": false, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00": false, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": true,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02": false, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff": true,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz": false, "short": false,
	} {
		if got := (Context{Parent: parent}).Sampled(); got != want {
			t.Errorf("%q: %t", parent, got)
		}
	}
}
