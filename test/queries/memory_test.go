package queries

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// clock is the clock of the memory tier; the test moves it.
type clock struct{ nanos atomic.Int64 }

func (c *clock) NowNano() int64                      { return c.nanos.Load() }
func (c *clock) Tick(time.Duration) <-chan time.Time { return nil }
func (c *clock) pass(d time.Duration)                { c.nanos.Add(int64(d)) }

// TestMemoryExpires: memory does not answer with an entry that is older than
// its TTL; KV answers, and memory caches the entry again.
func TestMemoryExpires(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	j, err := journal.Open(t.Context(), nc, journal.Config{Subjects: natsio.NewSubjects("")})
	harness.Must(t, err)
	bucket, err := hot.OpenBucket(t.Context(), nc, hot.AgentStateBucket, harness.Log(t))
	harness.Must(t, err)
	h := commands.NewHandler(history.New(j, nil, 0), commands.Config{InFlight: 10, Observe: func(events.Record) {}})
	defer h.Close()
	r, err := h.Send(t.Context(), commands.Request{Aggregate: "agent", ID: "a", Verb: "set", Body: []byte(`{"key":"k","value":1}`)})
	harness.Must(t, err)
	past := query.Rows{History: history.New(j, nil, 0)}
	e, _, _, err := past.Last(t.Context(), "a", "k")
	harness.Must(t, err)
	hotProgress, tail := projections.NewProgress(1), projections.NewProgress(1)
	target := hot.NewHot(bucket, j, hotProgress)
	harness.Must(t, target.Fill(t.Context(), &e))
	hotProgress.Set(0, r.Revision)
	tail.Set(0, r.Revision)

	now := &clock{}
	now.pass(time.Duration(time.Now().UnixNano()))
	memory := tiers.NewMemory(tiers.MemoryConfig{Partitions: 1, Tail: tail, TTL: time.Minute, Clock: now})
	memory.Start(0, 0)
	read := &tiers.Tiers{
		Memory: memory, Hot: target, HotProgress: hotProgress, DurableProgress: projections.NewProgress(1), Journal: past,
	}
	for i, step := range []struct {
		passes time.Duration
		source string
	}{
		{0, tiers.FromKV},
		{0, tiers.FromMemory},
		{59 * time.Second, tiers.FromMemory},
		{2 * time.Second, tiers.FromKV}, // reads do not prolong
		{0, tiers.FromMemory},
		{time.Hour, tiers.FromKV},
		{0, tiers.FromMemory},
	} {
		now.pass(step.passes)
		a, err := read.Get(t.Context(), "a", "k", tiers.Cached, 0)
		if err != nil || a.Source != step.source || string(a.Value) != "1" {
			t.Errorf("step %d: %s %s %v, want %s", i, a.Source, a.Value, err, step.source)
		}
	}
}
