package feeds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// tasks is the number of tasks in a test.
var tasks = harness.Rounds(200, 1000)

// TestNodeWorker: the worker and the engine are killed while tasks are
// under way, a thousand in a long run. Each task ends exactly once, with the right result.
func TestNodeWorker(t *testing.T) {
	t.Parallel() // most of the time is the ack_wait of 30 s
	dir := harness.NodeModules(t, "../../examples/feed-worker/node", "worker.mjs")
	killed(t, func(url string) *exec.Cmd { return exec.Command("node", filepath.Join(dir, "worker.mjs"), url) })
}

// TestGoWorker is TestNodeWorker for the worker in Go.
func TestGoWorker(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "worker")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../examples/feed-worker/go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	killed(t, func(url string) *exec.Cmd { return exec.Command(bin, url) })
}

func killed(t *testing.T, command func(url string) *exec.Cmd) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	c := e.Client(t)
	consumer, err := c.JS.Consumer(t.Context(), "TASK_EXECUTION", "task-processor")
	harness.Must(t, err)
	cfg := consumer.CachedInfo().Config
	if cfg.AckWait != 30*time.Second || cfg.MaxDeliver != 3 || cfg.MaxAckPending != 100 ||
		cfg.FilterSubject != "tasks.started.>" || cfg.AckPolicy != jetstream.AckExplicitPolicy {
		t.Errorf("task-processor is %+v", cfg)
	}
	for half := range 2 { // the first half exists before any worker
		create(t, c, half*tasks/2, (half+1)*tasks/2)
		if half == 1 {
			break
		}
		w := work(t, command(e.NATSURL))
		w.did(t, tasks/10)
		w.kill()
	}
	w := work(t, command(e.NATSURL))
	w.did(t, tasks/10)
	e.Kill()
	e.Restart()
	c = e.Client(t)
	done := 0
	c.AwaitEvent(t, "every task has ended", 2*time.Minute, func(ev harness.Event) bool {
		if ev.Type == "task.completed" || ev.Type == "task.failed" {
			done++
		}
		return done == tasks
	})
	w.stop(t)
	ended(t, c)
}

// create creates and starts tasks; every tenth has no numbers to add.
func create(t *testing.T, c *harness.Client, from, to int) {
	var all sync.WaitGroup
	for i := from; i < to; i++ {
		all.Go(func() {
			payload := harness.M{"numbers": []int{i, 1}}
			if i%10 == 0 {
				payload = harness.M{}
			}
			id := fmt.Sprintf("commands.task.t%d.", i)
			command := func(verb string, body any) {
				if _, err := c.Command(t.Context(), id+verb, harness.NewID(), body); err != nil {
					t.Errorf("%s%s: %v", id, verb, err)
				}
			}
			command("create", harness.M{"kind": "sum", "payload": payload})
			command("start", harness.M{"agent_id": "worker"})
		})
	}
	all.Wait()
}

// ended checks that every task ended once with the right result.
func ended(t *testing.T, c *harness.Client) {
	ends := map[string]string{}
	for _, ev := range c.Journal(t) {
		if ev.Type != "task.completed" && ev.Type != "task.failed" {
			continue
		}
		if first := ends[ev.ID]; first != "" {
			t.Errorf("%s: %s after %s", ev.ID, ev.Type, first)
		}
		var body struct {
			Data struct {
				Reason string `json:"reason"`
				Result struct {
					Sum int `json:"sum"`
				} `json:"result"`
			} `json:"data"`
		}
		harness.Must(t, json.Unmarshal(ev.Raw, &body))
		ends[ev.ID] = fmt.Sprintf("%s %d%s", ev.Type, body.Data.Result.Sum, body.Data.Reason)
	}
	for i := range tasks {
		want := fmt.Sprintf("task.completed %d", i+1)
		if i%10 == 0 {
			want = "task.failed 0no-numbers"
		}
		if got := ends[fmt.Sprintf("t%d", i)]; got != want {
			t.Errorf("t%d: %q, wanted %q", i, got, want)
		}
	}
}

// worker is a worker process and its output.
type worker struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	out  bytes.Buffer
}

func (w *worker) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

func (w *worker) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.String()
}

func work(t *testing.T, cmd *exec.Cmd) *worker {
	t.Helper()
	w := &worker{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = w, w
	harness.Must(t, cmd.Start())
	go func() {
		_ = cmd.Wait() // stop checks the exit code
		close(w.done)
	}()
	t.Cleanup(w.kill)
	return w
}

// did waits until the worker has reported n tasks.
func (w *worker) did(t *testing.T, n int) {
	t.Helper()
	harness.Eventually(t, "the worker works", func() error {
		if got := strings.Count(w.text(), "\n"); got < n {
			return fmt.Errorf("%d lines: %.500s", got, w.text())
		}
		return nil
	})
}

func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // fails only if the process has ended
	<-w.done
}

func (w *worker) stop(t *testing.T) {
	t.Helper()
	harness.Must(t, w.cmd.Process.Signal(syscall.SIGTERM))
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	select {
	case <-w.done:
		if code := w.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the worker ended with %d:\n%.2000s", code, w.text())
		}
	case <-limit.C:
		t.Error("the worker does not stop")
	}
}
