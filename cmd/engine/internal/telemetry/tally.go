package telemetry

import (
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tally counts what the console shows as rates. The counters of Prometheus cannot be read
// without collecting all of them.
type tally struct {
	commands, queries atomic.Uint64
	latency           [latencySteps]atomic.Uint64 // of commands
	tiers             sync.Map                    // name → *atomic.Uint64
}

// latencySteps are eight for each doubling of a microsecond, up to about a minute.
const latencySteps = 8 * 26

func newTally() *tally { return &tally{} }

func (t *tally) answered(kind string, took time.Duration) {
	if !strings.HasPrefix(kind, "commands.") {
		t.queries.Add(1)
		return
	}
	t.commands.Add(1)
	t.latency[latencyStep(took)].Add(1)
}

func (t *tally) hit(tier string) {
	n, known := t.tiers.Load(tier)
	if !known {
		n, _ = t.tiers.LoadOrStore(tier, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1) //nolint:errcheck // the map holds nothing else
}

func latencyStep(took time.Duration) int {
	us := uint64(max(took.Microseconds(), 1)) //nolint:gosec // positive
	octave := bits.Len64(us) - 1
	eighth := int(us<<3>>octave) & 7 //nolint:gosec // three bits
	return min(octave*8+eighth, latencySteps-1)
}

// latencyOf is the upper bound of a step.
func latencyOf(step int) time.Duration {
	octave, eighth := step/8, step%8
	return time.Duration(uint64(9+eighth)<<octave>>3) * time.Microsecond //nolint:gosec // small
}

// quantile of counts by step; 0 = there are none.
func quantile(counts *[latencySteps]uint64, q float64) time.Duration {
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := uint64(q * float64(total))
	for step, n := range counts {
		if rank < n {
			return latencyOf(step)
		}
		rank -= n
	}
	return latencyOf(latencySteps - 1)
}
