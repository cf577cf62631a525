package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// stopsBy is how long SIGTERM may take while a store does not answer. Without a bound the
// steps of a stop waited one after another, for 20 to 34 s.
const stopsBy = 18 * time.Second

// TestStopWhileAStoreIsFrozen: SIGTERM ends an engine in time whatever its stores do, and
// the next start has every acknowledged command.
func TestStopWhileAStoreIsFrozen(t *testing.T) {
	t.Parallel()
	dir := harness.TempDir(t)
	port := harness.FreePorts(t, 1)[0]
	config := filepath.Join(dir, "nats.conf")
	harness.Must(t, os.WriteFile(config, fmt.Appendf(nil, "listen: 127.0.0.1:%d\nmax_payload: 8MB\njetstream { store_dir: %q, max_file: 64GB }\n", port, filepath.Join(dir, "js")), 0o600))
	nats := harness.StartNATSServer(t, "nats", config)
	e := harness.New(t, harness.Config{Args: []string{"--nats", fmt.Sprintf("nats://127.0.0.1:%d", port)}})
	for _, frozen := range []struct {
		store string
		pids  func() []int
	}{
		{"NATS", func() []int { return []int{nats.PID()} }},
		{"Postgres", func() (all []int) {
			for _, p := range harness.Processes(filepath.Join(e.Data, "postgres")) {
				all = append(all, p.PID)
			}
			return all
		}},
	} {
		e.Restart()
		l := newLoad(t, 10*time.Millisecond, true)
		l.start(e, 4)
		l.wait(50)
		l.stop()
		want := e.Client(t).MustSet(t, "kept", frozen.store, 1, nil)
		pids := frozen.pids()
		for _, pid := range pids {
			harness.Must(t, syscall.Kill(pid, syscall.SIGSTOP))
		}
		began := time.Now()
		e.Stop()
		if took := time.Since(began); took > stopsBy {
			t.Errorf("%s is frozen: SIGTERM took %s", frozen.store, took)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT) // a managed server has ended
		}
		e.Restart()
		if got := e.Client(t).MustGet(t, want.ID, want.Key, harness.M{"token": want.Token}); got.Version != want.Version {
			t.Errorf("after %s was frozen: %+v, want version %d", frozen.store, got, want.Version)
		}
		e.Stop()
	}
}
