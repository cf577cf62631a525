package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestTaskWorkers: the example workers in Go and Node share tasks while workers and the
// engine are killed and a worker is frozen. Each task ends exactly once, with the right
// result. A long run (make tasks) has 10,000 tasks and kills at random times.
func TestTaskWorkers(t *testing.T) {
	t.Parallel()
	tasks, each := harness.Rounds(240, 10_000), harness.Rounds(2, 4)
	goWorker := filepath.Join(t.TempDir(), "worker")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", goWorker, "../../examples/worker/go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	node := filepath.Join(harness.NodeModules(t, "../../examples/worker/node", "worker.mjs"), "worker.mjs")
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	c := e.Client(t)
	makeTasks(t, c, 0, tasks/2)
	var workers []*process
	for i := range each {
		workers = append(workers, startWorker(t, goWorker, e.NATSURL, fmt.Sprint("go-", i)), startWorker(t, "node", node, e.NATSURL, fmt.Sprint("node-", i)))
	}
	makeTasks(t, c, tasks/2, tasks)
	var killed []*process
	reach := func(share int) {
		t.Helper()
		harness.Within(t, 5*time.Minute, "the workers work", func() error {
			n := 0
			for _, w := range append(killed, workers...) {
				n += strings.Count(w.text(), "complete\n") + strings.Count(w.text(), "fail\n")
			}
			if n < tasks*share/100 {
				return fmt.Errorf("%d tasks are done", n)
			}
			return nil
		})
	}
	for round := range harness.Rounds(2, 12) {
		reach((round + 1) * 80 / harness.Rounds(2, 12))
		i := rand.IntN(len(workers))
		if !harness.Long() {
			i = round // one of each language
		}
		killed = append(killed, workers[i])
		workers[i].kill()
		workers[i] = startWorker(t, workers[i].args...)
		if round%4 == 0 {
			e.Kill()
			e.Restart()
		}
	}
	frozen := freeze(t, c, workers)
	done := 0
	c.AwaitEvent(t, "every task has ended", 10*time.Minute, func(ev harness.Event) bool {
		if ev.Type == "task.completed" || ev.Type == "task.failed" {
			done++
		}
		return done == tasks+1
	})
	harness.Must(t, frozen.cmd.Process.Signal(syscall.SIGCONT))
	harness.Eventually(t, "the late report of a frozen worker is refused", func() error {
		if !strings.Contains(frozen.text(), "409") {
			return fmt.Errorf("it wrote %.300s", frozen.text())
		}
		return nil
	})
	for _, w := range workers {
		w.stop(t)
	}
	endedOnce(t, c, tasks)
}

// freeze stops the worker that has a task which takes it a while.
func freeze(t *testing.T, c *harness.Client, workers []*process) (frozen *process) {
	t.Helper()
	c.MustDo(t, "task.slow.create", M{"kind": "sum", "priority": 10, "payload": M{"numbers": []int{1}, "ms": 5000}})
	harness.Eventually(t, "a worker has the task", func() error {
		got, err := c.Query(t.Context(), "queries.task.slow.get", nil)
		var doc struct {
			Status  string `json:"status"`
			AgentID string `json:"agent_id"`
		}
		if err == nil {
			err = json.Unmarshal(got, &doc)
		}
		for _, w := range workers {
			if doc.Status == "started" && doc.AgentID == w.args[len(w.args)-1] {
				frozen = w
				return nil
			}
		}
		return fmt.Errorf("%s, %w", got, err)
	})
	harness.Must(t, frozen.cmd.Process.Signal(syscall.SIGSTOP))
	return frozen
}

// makeTasks creates tasks; every tenth has no numbers to add.
func makeTasks(t *testing.T, c *harness.Client, from, to int) {
	t.Helper()
	var all sync.WaitGroup
	slots := make(chan bool, 64)
	for i := from; i < to; i++ {
		slots <- true
		all.Go(func() {
			defer func() { <-slots }()
			payload := M{"numbers": []int{i, 1}}
			if i%10 == 0 {
				payload = M{}
			}
			if _, err := c.Command(t.Context(), fmt.Sprintf("commands.task.t%d.create", i), harness.NewID(), M{"kind": "sum", "payload": payload}); err != nil {
				t.Errorf("t%d: %v", i, err)
			}
		})
	}
	all.Wait()
}

// endedOnce checks that every task ended once with the right result.
func endedOnce(t *testing.T, c *harness.Client, tasks int) {
	t.Helper()
	ends := map[string]string{}
	expired := 0
	for _, ev := range c.Journal(t) {
		if ev.Type == "task.lease_expired" {
			expired++
		}
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
	t.Logf("%d tasks ended once, %d leases ran out", tasks, expired)
}

// process is a worker and its output.
type process struct {
	args []string
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	out  bytes.Buffer
}

func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(text)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func startWorker(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{args: args, cmd: exec.Command(args[0], args[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	harness.Must(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // stop checks the exit code
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if the process has ended
	<-p.done
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	harness.Must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
	case <-time.After(harness.Patience):
		t.Fatalf("the worker %s does not stop", p.args)
	}
	// One that has done nothing may not have come to where it handles the signal.
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && (code > 0 || p.text() != "") {
		t.Errorf("the worker ended with %d:\n%.2000s", code, p.text())
	}
}
