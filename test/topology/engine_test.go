package topology

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// drifted waits until status shows this drift.
func drifted(t *testing.T, e *harness.Engine, want ...string) {
	t.Helper()
	harness.Eventually(t, "status shows the drift", func() error {
		var s struct {
			Topology struct {
				File    string
				Things  int
				Drift   int
				Drifted []string
			}
		}
		r := e.Run("status", "--json")
		if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
			return err
		}
		got := s.Topology
		if got.File != "default" || got.Things != 11 || got.Drift != len(want) || strings.Join(got.Drifted, "\n") != strings.Join(want, "\n") {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

func run(t *testing.T, e *harness.Engine, args ...string) harness.Result {
	t.Helper()
	return harness.Run(t, append([]string{"topology", args[0], "--data", e.Data}, args[1:]...)...)
}

// TestEngine: the engine applies its topology at the start, makes again what is
// removed, reports other changes of the server as drift, and the command line
// corrects them.
func TestEngine(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	drifted(t, e)
	if r := run(t, e, "plan"); r.Code != 0 || !strings.Contains(r.Stdout, "0 to create, 0 to change, 11 unchanged, 0 refused") || strings.Contains(r.Stdout, "\x1b") {
		t.Errorf("plan: %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}

	js := e.OperatorJetStream(t)
	s, err := js.Stream(t.Context(), "KV_TASK_STATE")
	harness.Must(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = 99 * mib
	_, err = js.UpdateStream(t.Context(), cfg)
	harness.Must(t, err)
	harness.Must(t, js.DeleteConsumer(t.Context(), "TASK_EXECUTION", "task-processor"))
	drifted(t, e, "bucket TASK_STATE: max_bytes is 99 MiB, not 2 GiB") // the engine makes the consumer again
	if r := e.Run("status"); !strings.Contains(r.Stdout, "topology    default, 1 of 11 DRIFTED") {
		t.Errorf("status: %s", r.Stdout)
	}
	var plan topology.Plan
	r := run(t, e, "plan", "--json", "-f", documentFile)
	harness.Must(t, json.Unmarshal([]byte(r.Stdout), &plan))
	if r.Code != 0 || plan.Count(topology.Create) != 0 || plan.Count(topology.Update) != 1 {
		t.Errorf("plan: %d\n%s", r.Code, r.Stdout)
	}
	if r := run(t, e, "apply"); r.Code != 0 || !strings.HasSuffix(r.Stdout, "Applied.\n") {
		t.Errorf("apply: %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	drifted(t, e)
}

// TestEngineBadFile: a malformed topology file ends the start with the place of
// the error.
func TestEngineBadFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yaml")
	harness.Must(t, os.WriteFile(file, []byte("a:\n  bucket: B\n  tll: 5\n"), 0o600))
	for _, args := range [][]string{
		{"serve", "--data", t.TempDir(), "--nats-listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--postgres", "off", "--topology", file},
		{"topology", "plan", "--server", "nats://127.0.0.1:1", "-f", file},
	} {
		if r := harness.Run(t, args...); r.Code != 2 || !strings.Contains(r.Stderr, `line 3: unknown field \"tll\"`) {
			t.Errorf("%s: %d %s", args[0], r.Code, r.Stderr)
		}
	}
}

// TestEngineOnCluster: on its cluster the engine creates everything exactly as
// written.
func TestEngineOnCluster(t *testing.T) {
	nc := cluster(t, 3, home, tags)
	harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--nats", nc.ConnectedUrl(), "--topology", documentFile}})
	asWritten(t, nc)
}

// TestEngineElsewhere: on another cluster a topology file with a placement ends
// the start and the plan; without a file the engine serves without placement.
func TestEngineElsewhere(t *testing.T) {
	nc := cluster(t, 3, "elsewhere", nil)
	server := nc.ConnectedUrl()
	r := harness.Run(t, "topology", "plan", "--server", server, "-f", documentFile)
	if r.Code != 1 || !strings.Contains(r.Stdout, "Nothing can be applied: peers and tags: placement ms-framework-cluster") {
		t.Errorf("plan: %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	r = harness.Run(t, "topology", "apply", "--server", server, "-f", documentFile)
	if got := streams(t, nc); r.Code != 1 || len(got) > 0 {
		t.Errorf("apply: %d, %q", r.Code, got)
	}
	r = harness.Run(t, "serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--postgres", "off", "--nats", server, "--topology", documentFile)
	if r.Code != 1 || !strings.Contains(r.Stderr, "does not fit the server: peers and tags") {
		t.Errorf("serve: %d\n%s", r.Code, r.Stderr)
	}
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--nats", server}})
	drifted(t, e)
	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	s, err := js.Stream(t.Context(), "TASK_EXECUTION")
	harness.Must(t, err)
	if cfg := s.CachedInfo().Config; cfg.Placement != nil || cfg.Replicas != 3 {
		t.Errorf("TASK_EXECUTION: %d replicas, placement %+v", cfg.Replicas, cfg.Placement)
	}
}
