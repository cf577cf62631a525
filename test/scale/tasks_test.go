package scale

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestTasksAmongFinished claims tasks of which many wait among many more that have ended: each
// is given once and in order, no claim reads all tasks, and a restarted engine finds what
// waits.
func TestTasksAmongFinished(t *testing.T) {
	finished, waiting := size(t, "TASKS", 2_000), size(t, "WAITING", 500)
	args := []string{"--durability", "relaxed", "--lifecycle", "manual"}
	if sql := os.Getenv("SCALE_POSTGRES"); sql != "" {
		args = append(args, "--postgres", sql)
	}
	e := harness.Start(t, harness.Config{Args: args})
	c := e.Client(t)
	makeTasks(t, e, "before", waiting/2, false)
	first := claimMany(t, e, c, "without others", "before", waiting/2)
	began := time.Now()
	makeTasks(t, e, "done", finished, true)
	t.Logf("%d tasks were made and have ended: %.1f s", finished, time.Since(began).Seconds())
	makeTasks(t, e, "wait", waiting, false)
	c.CaughtUpWithin(t, 30*time.Minute)
	t.Logf("resident: %d MiB", resident(t, e)>>20)
	makeTasks(t, e, "now", waiting/2, false)
	among := claimMany(t, e, c, "among those that have ended", "now", waiting/2)
	if among > 3*first+2*time.Millisecond {
		t.Errorf("a claim takes %s, and %s without finished tasks", among, first)
	}
	e.Kill()
	began = time.Now()
	e.Restart()
	ready := time.Since(began)
	c = e.Client(t)
	msg := &nats.Msg{Subject: "commands.tasks.next", Data: []byte(`{"agent_id":"w","kind":"wait"}`), Header: nats.Header{}}
	harness.Within(t, 10*time.Minute, "the first claim", func() error {
		_, err := c.Ask(t.Context(), msg)
		return err
	})
	t.Logf("after a kill the engine is ready in %.1f s, the first claim is answered in %.1f s; resident: %d MiB", ready.Seconds(), time.Since(began).Seconds(), resident(t, e)>>20)
	claimMany(t, e, c, "after the restart", "wait", waiting-1)
}

// claimMany claims the n tasks of a kind one after the other; it returns the median.
func claimMany(t *testing.T, e *harness.Engine, c *harness.Client, when, kind string, n int) time.Duration {
	t.Helper()
	core := coreRequest(t, e, c)
	var took []time.Duration
	seen := map[string]bool{}
	for {
		msg := &nats.Msg{Subject: "commands.tasks.next", Data: []byte(`{"agent_id":"w","kind":"` + kind + `"}`), Header: nats.Header{}}
		began := time.Now()
		answer, err := c.Ask(t.Context(), msg)
		if no := harness.Refused(err); no != nil && no.Code == "task.none" {
			break
		}
		harness.Must(t, err)
		took = append(took, time.Since(began))
		id := regexp.MustCompile(`"task_id":"([^"]+)"`).FindStringSubmatch(string(answer))
		if id == nil || seen[id[1]] {
			t.Fatalf("given twice: %.200s", answer)
		}
		seen[id[1]] = true
	}
	if len(seen) != n {
		t.Errorf("%s %d of %d tasks were given", when, len(seen), n)
	}
	slices.Sort(took)
	median := took[len(took)/2]
	t.Logf("%s: %d claims, median %s, %.1f of a core request-reply (%s), p99 %s", when, len(took), median, float64(median)/float64(core), core, took[len(took)*99/100])
	return median
}

// coreRequest is the median of requests that another client answers.
func coreRequest(t *testing.T, e *harness.Engine, c *harness.Client) time.Duration {
	t.Helper()
	other := e.Client(t)
	sub, err := other.Subscribe("core.echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	harness.Must(t, err)
	defer func() { _ = sub.Unsubscribe() }()
	harness.Must(t, other.Flush())
	var took []time.Duration
	for range 500 {
		began := time.Now()
		_, err := c.RequestWithContext(t.Context(), "core.echo", []byte(`{"agent_id":"w"}`))
		harness.Must(t, err)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// makeTasks creates tasks of a kind, in atomic batches of four clients, and cancels them if
// they shall end.
func makeTasks(t *testing.T, e *harness.Engine, kind string, n int, end bool) {
	t.Helper()
	const clients, batch = 4, 250 // two commands for each task, of 500 in a batch
	var making sync.WaitGroup
	var next atomic.Int64
	var failed atomic.Pointer[error]
	for range clients {
		c := e.Client(t)
		making.Go(func() {
			for failed.Load() == nil {
				from := int(next.Add(batch)) - batch
				if from >= n {
					return
				}
				var commands []harness.M
				for i := from; i < min(from+batch, n); i++ {
					subject := fmt.Sprint("task.", kind, "-", i)
					commands = append(commands, harness.M{"subject": subject + ".create", "id": harness.NewID(), "body": harness.M{"kind": kind, "payload": i}})
					if end {
						commands = append(commands, harness.M{"subject": subject + ".cancel", "id": harness.NewID()})
					}
				}
				if err := atomically(t, c, commands); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	making.Wait()
	if err := failed.Load(); err != nil {
		t.Fatalf("make tasks: %v", *err)
	}
}

// atomically sends an atomic batch until it is answered; the ids make it take effect once.
func atomically(t *testing.T, c *harness.Client, commands []harness.M) error {
	body, err := json.Marshal(harness.M{"atomic": true, "commands": commands})
	harness.Must(t, err)
	for {
		_, err := c.Ask(t.Context(), &nats.Msg{Subject: "commands.batch", Data: body})
		if no := harness.Refused(err); err == nil || no != nil && no.Status < 429 || t.Context().Err() != nil {
			return err
		}
	}
}

// resident is the memory of the engine process, in bytes.
func resident(t *testing.T, e *harness.Engine) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprint("/proc/", e.PID(), "/status"))
	if err != nil {
		return 0 // not Linux
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			harness.Must(t, err)
			return kb << 10
		}
	}
	return 0
}
