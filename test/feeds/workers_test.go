package feeds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
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

// tasks is how many the workers are given.
const tasks = 1000

// TestNodeWorker: the worker and the engine are killed while a thousand tasks
// are under way; each ends exactly once, as it should.
func TestNodeWorker(t *testing.T) {
	t.Parallel() // an ack_wait of 30 s is most of it
	dir := nodeModules(t, "../../examples/worker/node", "worker.mjs")
	killed(t, func(url string) *exec.Cmd { return exec.Command("node", filepath.Join(dir, "worker.mjs"), url) })
}

// TestGoWorker: the same of the worker in Go.
func TestGoWorker(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "worker")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../examples/worker/go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	killed(t, func(url string) *exec.Cmd { return exec.Command(bin, url) })
}

func killed(t *testing.T, command func(url string) *exec.Cmd) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	c := e.Client(t)
	consumer, err := c.JS.Consumer(t.Context(), "TASK_EXECUTION", "task-processor")
	must(t, err)
	cfg := consumer.CachedInfo().Config
	if cfg.AckWait != 30*time.Second || cfg.MaxDeliver != 3 || cfg.MaxAckPending != 100 ||
		cfg.FilterSubject != "tasks.started.>" || cfg.AckPolicy != jetstream.AckExplicitPolicy {
		t.Errorf("task-processor is %+v", cfg)
	}
	for half := range 2 { // the first is there before any worker
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
	harness.Within(t, 120*time.Second, "every task has ended", func() error {
		n := 0
		for _, ev := range c.Journal(t) {
			if ev.Type == "task.completed" || ev.Type == "task.failed" {
				n++
			}
		}
		if n < tasks {
			return fmt.Errorf("%d of %d", n, tasks)
		}
		return nil
	})
	w.stop(t)
	ended(t, c)
}

// create makes tasks and starts them; every tenth has nothing to add.
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

// ended asks that every task was ended once and rightly.
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
		must(t, json.Unmarshal(ev.Raw, &body))
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

// worker is a running worker and what it has printed.
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
	must(t, cmd.Start())
	go func() {
		_ = cmd.Wait() // how it ended is asked by stop
		close(w.done)
	}()
	t.Cleanup(w.kill)
	return w
}

// did returns when the worker has reported n tasks.
func (w *worker) did(t *testing.T, n int) {
	t.Helper()
	harness.Within(t, 30*time.Second, "the worker works", func() error {
		if got := strings.Count(w.text(), "\n"); got < n {
			return fmt.Errorf("%d lines: %.500s", got, w.text())
		}
		return nil
	})
}

func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // gone already, at worst
	<-w.done
}

func (w *worker) stop(t *testing.T) {
	t.Helper()
	must(t, w.cmd.Process.Signal(syscall.SIGTERM))
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

// nodeModules is a directory with an example's script and what it imports. What
// was installed is kept from one test run to the next, in the user's cache,
// under the digest of package.json.
func nodeModules(t *testing.T, example, script string) string {
	t.Helper()
	wanted, err := os.ReadFile(filepath.Join(example, "package.json"))
	must(t, err)
	text, err := os.ReadFile(filepath.Join(example, script))
	must(t, err)
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(wanted)
	kept := filepath.Join(cache, "tidemark-test", "node-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(filepath.Join(kept, "node_modules")); err != nil {
		install(t, kept, wanted)
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, script), text, 0o644))
	must(t, os.Symlink(filepath.Join(kept, "node_modules"), filepath.Join(dir, "node_modules")))
	return dir
}

func install(t *testing.T, kept string, wanted []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(kept), 0o755))
	fresh, err := os.MkdirTemp(filepath.Dir(kept), "install-")
	must(t, err)
	defer os.RemoveAll(fresh)
	must(t, os.WriteFile(filepath.Join(fresh, "package.json"), wanted, 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--prefer-offline")
	npm.Dir = fresh
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, kept); err != nil { // another test run may have been first
		_, err = os.Stat(filepath.Join(kept, "node_modules"))
		must(t, err)
	}
}
