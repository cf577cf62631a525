package coordination

import (
	"testing"
	"time"
)

// TestServerClock: a clock that was set is noticed, of the engine, of the server and of the
// machine of both; the time of a question is not taken for a difference.
func TestServerClock(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		engine, server, passed, took time.Duration // since the first reading
		change                       clockChange
		ahead                        time.Duration
	}{
		"nothing":                 {3 * time.Second, 3 * time.Second, 3 * time.Second, 0, noClock, 0},
		"a slow answer":           {9 * time.Second, 6 * time.Second, 9 * time.Second, 6 * time.Second, noClock, 0},
		"a little":                {3 * time.Second, 4 * time.Second, 3 * time.Second, 0, noClock, time.Second},
		"the server's, ahead":     {3 * time.Second, time.Hour, 3 * time.Second, 0, oneClock, time.Hour - 3*time.Second},
		"the server's, back":      {3 * time.Second, -time.Hour, 3 * time.Second, 0, oneClock, -time.Hour - 3*time.Second},
		"the engine's, ahead":     {time.Hour, 3 * time.Second, 3 * time.Second, 0, oneClock, 3*time.Second - time.Hour},
		"the machine's, ahead":    {time.Hour, time.Hour, 3 * time.Second, 0, bothClocks, 0},
		"the machine's, back":     {-time.Hour, -time.Hour, 3 * time.Second, 0, bothClocks, 0},
		"the machine has slept":   {time.Hour, time.Hour, time.Second, 0, bothClocks, 0},
		"the engine was not run":  {time.Hour, time.Hour, time.Hour, 0, noClock, 0},
		"a slow answer and a set": {3 * time.Second, time.Hour, 3 * time.Second, time.Second, oneClock, time.Hour - 2*time.Second},
	} {
		var clock serverClock
		if clock.take(reading{server: begin, engine: begin}) != noClock {
			t.Errorf("%s: the first reading is of a clock that was set", name)
		}
		change := clock.take(reading{begin.Add(c.server), c.took, begin.Add(c.engine), c.passed})
		if change != c.change || clock.ahead != c.ahead {
			t.Errorf("%s: %d clocks were set, the server is %s ahead; want %d, %s", name, change, clock.ahead, c.change, c.ahead)
		}
	}
}
