package erasure

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// fill sends commands in batches, several at a time.
func fill(t *testing.T, c *harness.Client, n int, command func(i int) M) {
	t.Helper()
	const size = 250
	left := make(chan error, 8)
	busy := 0
	for at := 0; at < n; at += size {
		var all []M
		for i := at; i < min(n, at+size); i++ {
			all = append(all, command(i))
		}
		body, err := json.Marshal(M{"commands": all})
		harness.Must(t, err)
		if busy == cap(left) {
			harness.Must(t, <-left)
			busy--
		}
		busy++
		go func() {
			_, err := c.Ask(t.Context(), &nats.Msg{Subject: "commands.batch", Data: body, Header: nats.Header{}})
			left <- err
		}()
	}
	for range busy {
		harness.Must(t, <-left)
	}
}

// peak is the most memory that a process has had, in its own words.
func peak(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // empty elsewhere than on Linux
	return string(regexp.MustCompile(`VmHWM:.*`).Find(text))
}

// The erasure of an agent with many tasks and entries lets others work. A long run
// measures it with 100,000 of each.
func TestEraseMany(t *testing.T) {
	t.Parallel()
	n := harness.Rounds(500, 100_000)
	key := newKey(t, "key", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a")
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", key}})
	c := e.Client(t)
	fill(t, c, n, func(i int) M {
		return M{"subject": fmt.Sprintf("task.many%d.create", i), "body": M{"kind": "k", "agent_id": "tasks", "payload": M{"p": marker}}}
	})
	fill(t, c, n, func(i int) M {
		return M{"subject": "agent.entries.set", "body": M{"key": fmt.Sprint("k", i), "value": marker}}
	})
	c.CaughtUpWithin(t, 10*time.Minute)
	for _, agent := range []string{"tasks", "entries"} {
		t.Logf("before the erasure of %s: %s", agent, peak(e.PID()))
		ctx, stop := context.WithCancel(t.Context())
		var slowest atomic.Int64
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for i := 0; ctx.Err() == nil; i++ {
				began := time.Now()
				if _, err := c.Set(t.Context(), "other", "k", i, nil); err != nil {
					t.Errorf("a command during the erasure: %v", err)
					return
				}
				slowest.Store(max(slowest.Load(), int64(time.Since(began))))
			}
		}()
		began := time.Now()
		var accepted time.Duration
		var r erasure
		harness.Within(t, 20*time.Minute, "the erasure", func() error {
			msg := nats.NewMsg("commands.agent." + agent + ".erase")
			msg.Header.Set("Nats-Msg-Id", "erase-"+agent)
			msg.Data = []byte(`{"reason":"article 17"}`)
			asked, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			body, err := c.Ask(asked, msg)
			if err == nil {
				err = json.Unmarshal(body, &r)
			}
			if err == nil && accepted == 0 {
				accepted = time.Since(began)
			}
			if err == nil && !r.Erasure.Complete {
				err = fmt.Errorf("%s", body)
			}
			return err
		})
		stop()
		<-ended
		t.Logf("%d %s: acknowledged after %s, complete after %s, the slowest command of another agent %s, %s",
			n, agent, accepted.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), time.Duration(slowest.Load()).Round(time.Millisecond), peak(e.PID()))
		if r.Erasure.Tasks+r.Erasure.Entries != n {
			t.Errorf("erased of %s: %+v", agent, r)
		}
		if d := time.Duration(slowest.Load()); d > 5*time.Second {
			t.Errorf("a command of another agent waited %s", d)
		}
	}
}
