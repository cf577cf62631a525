package telemetry

import (
	"testing"
	"time"
)

// A quantile is at most an eighth above what was measured.
func TestLatencyQuantiles(t *testing.T) {
	tally := newTally()
	for _, took := range []time.Duration{0, time.Microsecond, 90 * time.Microsecond, time.Millisecond, 20 * time.Millisecond, 3 * time.Second, time.Hour} {
		step := latencyStep(took)
		if bound := latencyOf(step); took > time.Microsecond && took < time.Minute && (bound < took || bound > took+took/8+time.Microsecond) {
			t.Errorf("%s is in the step up to %s", took, bound)
		}
	}
	for i := range 100 {
		tally.answered("commands.agent.set", time.Duration(i+1)*time.Millisecond)
		tally.answered("queries.agent.get", time.Hour)
	}
	var counts [latencySteps]uint64
	if quantile(&counts, 0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	for i := range counts {
		counts[i] = tally.latency[i].Load()
	}
	for q, want := range map[float64]time.Duration{0.5: 50 * time.Millisecond, 0.99: 99 * time.Millisecond} {
		if got := quantile(&counts, q); got < want || got > want+want/4 {
			t.Errorf("%g: %s", q, got)
		}
	}
	if tally.commands.Load() != 100 || tally.queries.Load() != 100 {
		t.Error("counted wrongly")
	}
}

// BenchmarkTally is what a request pays for the console's graphs.
func BenchmarkTally(b *testing.B) {
	t := newTally()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			t.answered("commands.agent.set", time.Millisecond)
			t.hit("memory")
		}
	})
}
