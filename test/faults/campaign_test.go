package faults

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// campaign is an engine with failpoints under load and traffic, and what was injected so far.
type campaign struct {
	*world
	*failpoints
	load    *load
	traffic *traffic
	*tally
}

// tally counts injections.
type tally struct {
	acted  map[string]int // by kind: a failpoint with its action, or a fault from outside
	silent map[string]int // failpoints that nothing passed in time
	times  []time.Duration
	// Of the parts that are over.
	histories, concurrent int
	commands              map[string]int
}

func newTally() *tally {
	return &tally{acted: map[string]int{}, silent: map[string]int{}, commands: map[string]int{}}
}

func (y *tally) injections() (n int) {
	for _, times := range y.acted {
		n += times
	}
	return n
}

// report shows the sums.
func (y *tally) report(t *testing.T) {
	t.Helper()
	if len(y.times) == 0 {
		return
	}
	slices.Sort(y.times)
	t.Logf("%d injections of %d distinct faults; %d histories, %d with concurrent operations; recovery p50 %s, p99 %s, longest %s; commands: %s",
		y.injections(), len(y.acted), y.histories, y.concurrent, y.times[len(y.times)/2], y.times[len(y.times)*99/100], y.times[len(y.times)-1],
		encode(t, y.commands))
	for kind, n := range y.silent {
		if y.acted[kind] == 0 {
			t.Logf("nothing passed %s, tried %d times", kind, n)
		}
	}
}

// seedOf is the seed of a schedule: that of TIDEMARK_TEST_SEED, else a new one in a long run and
// always the same in a short one.
func seedOf(t *testing.T, short uint64) uint64 {
	t.Helper()
	seed := short
	if harness.Long() {
		seed = rand.Uint64()
	}
	if text := os.Getenv("TIDEMARK_TEST_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		harness.Must(t, err)
	}
	t.Logf("TIDEMARK_TEST_SEED=%d replays this schedule", seed)
	return seed
}

// parts is the number of engines of a long campaign. Each begins with an empty journal.
const parts = 3

// strike plays a plan against a new engine and judges it.
func strike(t *testing.T, random *rand.Rand, plan []step, sum *tally) {
	c := &campaign{world: &world{t: t, sql: startExternal(t), random: random}, failpoints: newFailpoints(t), tally: sum}
	c.Engine = harness.Start(t, harness.Config{Program: failEngine(t), Env: c.env(), SQL: c.sql.URL()})
	c.client = c.Client(t)
	c.load = newLoad(t, 12*time.Millisecond, false)
	c.load.start(c.Engine, 6)
	c.traffic = newTraffic(t, c.Engine, c.sql.URL())
	before := sum.injections()
	for n, s := range plan {
		if n%2 == 1 {
			c.load.epoch.Add(1) // new histories
		}
		c.load.wait(10)
		s.play(c)
		took := c.recovered(s.name)
		sum.times = append(sum.times, took)
		t.Logf("%s: recovered after %s", s.name, took.Round(time.Millisecond))
		if t.Failed() {
			break
		}
	}
	c.traffic.stop()
	c.traffic.messages = nil // their stream is in memory: a kill loses those that SQL does not have yet
	for _, wrong := range c.traffic.settle() {
		t.Error(wrong)
	}
	all := c.load.judgeOthers(c.Engine, "probe", side)
	for _, wrong := range c.traffic.check(all) {
		t.Error(wrong)
	}
	sum.histories, sum.concurrent = sum.histories+c.load.histories, sum.concurrent+c.load.Concurrent()
	for outcome, n := range c.load.Count() {
		sum.commands[outcome] += n
	}
	t.Logf("%d injections", sum.injections()-before)
}
