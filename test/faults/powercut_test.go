package faults

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// crash is an engine whose journal and database lie on a disk that loses power.
type crash struct {
	*harness.Engine
	t      *testing.T
	disk   *harness.CrashDisk
	client *harness.Client
}

func startCrash(t *testing.T, args ...string) *crash {
	t.Helper()
	c := &crash{t: t, disk: harness.NewCrashDisk(t, 768<<20)}
	t.Logf("the disk: %s", c.disk)
	c.Engine = harness.Start(t, harness.Config{Data: c.disk.Dir + "/data", Args: args})
	c.client = c.Engine.Client(t)
	return c
}

// cut cuts the power and starts the engine again. It returns how long the engine then
// took until it was ready and every view had caught up.
func (c *crash) cut() time.Duration {
	c.t.Helper()
	c.disk.Cut(c.Killed)
	began := time.Now()
	c.Restart()
	c.client.CaughtUp(c.t)
	return time.Since(began)
}

// TestPowerCut cuts the power under load again and again. With the shipped
// configuration every acknowledged command is there afterwards, none takes effect a
// second time, and KV and SQL equal the journal without a manual step.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	worlds, cuts := harness.Rounds(1, 5), harness.Rounds(3, 44)
	var times []time.Duration
	acked, repeated := 0, 0
	began := time.Now()
	for range worlds {
		c := startCrash(t)
		s := startSessions(t, []*harness.Client{c.client}, 2)
		l := newLoad(t, 3*time.Millisecond, true)
		l.start(c.Engine, 4)
		for range cuts {
			if t.Failed() {
				break
			}
			before := s.count()
			l.wait(20)
			pause(t.Context(), time.Duration(len(times)%10)*37*time.Millisecond) // another place in the server's and the kernel's intervals
			times = append(times, c.cut())
			repeated += s.repeat(c.client, before)
			c.Verify()
			if len(times)%10 == 0 {
				t.Logf("%d power cuts, %s a cut", len(times), (time.Since(began) / time.Duration(len(times))).Round(time.Millisecond))
			}
		}
		t.Log(s.judge([]*harness.Client{c.client}))
		acked += s.count()
		n, _ := l.Acked()
		acked += n
		l.judgeOthers(c.Engine, "ts")
	}
	slices.Sort(times)
	t.Logf("%d power cuts: %d acknowledged commands, none lost; %d repeated after their cut, each answered as the first time; "+
		"ready and caught up after p50 %s, p99 %s, longest %s; %s a cut", len(times), acked, repeated, times[len(times)/2].Round(time.Millisecond),
		times[len(times)*99/100].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond), (time.Since(began) / time.Duration(len(times))).Round(time.Millisecond))
}

// relaxedWindow is how old an acknowledged command may be that a power cut loses with
// --durability relaxed: the journal is synced each second; and the time of a sync.
const relaxedWindow = 2 * time.Second

// TestPowerCutRelaxed: with relaxed durability a power cut loses acknowledged commands
// of the last second at most. The archive and the views that were ahead of the journal
// go back by themselves, and the engine goes on. Deadlines of tasks that are kept pass.
func TestPowerCutRelaxed(t *testing.T) {
	t.Parallel()
	c := startCrash(t, "--durability", "relaxed")
	lost, longest, total := 0, time.Duration(0), 0
	var times []time.Duration
	for n := range harness.Rounds(1, 40) {
		type write struct {
			receipt harness.Receipt
			at      time.Time
		}
		var all []write
		deadline := time.Now().Add(5 * time.Second).UTC().Format(time.RFC3339Nano)
		c.client.MustDo(t, fmt.Sprintf("task.t%d.create", n), harness.M{"kind": "x", "deadline": deadline})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for i := 0; ctx.Err() == nil; i++ {
				r, err := c.client.Set(ctx, fmt.Sprint("r", n), fmt.Sprint("k", i), i, nil)
				if err == nil {
					all = append(all, write{r, time.Now()})
				}
				pause(ctx, time.Millisecond)
			}
		}()
		pause(t.Context(), 2500*time.Millisecond+time.Duration(n%10)*113*time.Millisecond)
		cut := c.disk.Cut(func() { cancel(); <-ended; c.Killed() })
		began := time.Now()
		c.Restart()
		harness.Eventually(t, "KV and SQL equal the journal", func() error {
			if r := c.Run("verify"); r.Code != 0 {
				return fmt.Errorf("%.300s", r.Stdout)
			}
			return nil
		})
		times = append(times, time.Since(began))
		task := fmt.Sprint("t", n)
		c.client.AwaitEvent(t, "the deadline ends the task", harness.Patience, func(ev harness.Event) bool {
			return ev.Type == "task.cancelled" && ev.ID == task
		})
		c.client.CaughtUp(t)
		there := map[string]bool{}
		events := c.client.CheckAll(t)
		for i := range events {
			there[events[i].CommandID] = true
		}
		for _, w := range all {
			total++
			if there[w.receipt.CommandID] {
				continue
			}
			lost++
			longest = max(longest, cut.Sub(w.at))
		}
		if t.Failed() {
			break
		}
	}
	if longest > relaxedWindow {
		t.Errorf("a command was lost %s after its acknowledgement", longest)
	}
	slices.Sort(times)
	t.Logf("%d power cuts with relaxed durability: %d of %d acknowledged commands lost, the oldest acknowledged %s before the cut; ready, and every view equal to the journal, after p50 %s, longest %s",
		len(times), lost, total, longest.Round(time.Millisecond), times[len(times)/2].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
}
