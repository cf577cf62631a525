package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestPartitions: a journal with four partitions answers like one with a single
// partition, and their number is fixed when the journal is created.
func TestPartitions(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--partitions", "4"}})
	c := e.Client(t)
	var all sync.WaitGroup
	for a := range 20 {
		all.Go(func() {
			agent := fmt.Sprintf("agent%d", a)
			for n := range 6 {
				r, err := c.Set(t.Context(), agent, fmt.Sprintf("k%d", n%3), n, harness.M{"strategy": "last_write_wins"})
				if err != nil {
					t.Errorf("set: %v", err)
					return
				}
				consistency := []string{"cached", "hot", "durable", "strong"}[n%4]
				got, err := c.Get(t.Context(), agent, fmt.Sprintf("k%d", n%3),
					harness.M{"token": r.Token, "consistency": consistency, "wait_ms": 60000})
				if err != nil || got.Version < r.Version {
					t.Errorf("get %s: %+v %v", consistency, got, err)
				}
			}
		})
	}
	all.Wait()
	used := map[int]int{}
	for _, ev := range harness.States(c.CheckAll(t)) {
		used[ev.Partition]++
	}
	if len(used) != 4 {
		t.Errorf("20 agents lie in %d of 4 partitions: %v", len(used), used)
	}
	if got := strings.Count(e.Run("replay", "--subject", "events.agent.*.state.>").Stdout, "\n"); got != 120 {
		t.Errorf("replay prints %d of 120 events", got)
	}
	e.Verify()

	e.Stop()
	for _, n := range []string{"1", "2", "8"} {
		r := harness.Run(t, "serve", "--data", e.Data, "--partitions", n, "--nats-listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
		if r.Code != 1 || !strings.Contains(r.Stderr, "4 partitions") || !strings.Contains(r.Stderr, "--partitions 4") {
			t.Errorf("--partitions %s of 4: %+v", n, r)
		}
		e.Gone()
	}
	e.Restart() // with the 4 partitions that it was created with
	c.CheckAll(t)
	if got := c.MustGet(t, "agent7", "k0", nil); string(got.Value) != "3" || got.Version != 2 {
		t.Errorf("after the restart: %+v", got)
	}
	c.MustSet(t, "agent7", "k0", "more", nil)
	e.Verify()
}
