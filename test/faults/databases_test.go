package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestTwoDatabases: of two engines on one journal that were given a database each, the one
// whose rows no engine writes says so, and takes them for nothing that they are not.
func TestTwoDatabases(t *testing.T) {
	t.Parallel()
	dir := harness.TempDir(t)
	port := harness.FreePorts(t, 1)[0]
	config := filepath.Join(dir, "nats.conf")
	harness.Must(t, os.WriteFile(config, fmt.Appendf(nil, "listen: 127.0.0.1:%d\nmax_payload: 8MB\njetstream { store_dir: %q }\n", port, filepath.Join(dir, "js")), 0o600))
	harness.StartNATSServer(t, "nats", config)
	url := fmt.Sprintf("nats://127.0.0.1:%d", port)
	engines := make([]*harness.Engine, 2)
	for i := range engines {
		engines[i] = harness.New(t, harness.Config{SQL: support.Postgres(t), Args: []string{"--nats", url}})
		engines[i].Restart()
	}
	c := engines[0].Client(t)
	c.MustSet(t, "kept", "k", 1, nil)
	harness.Eventually(t, "one engine says that its database is another one", func() error {
		said := 0
		for _, e := range engines {
			code, body := e.Ready()
			if code != 200 {
				t.Fatalf("/readyz is %d %s", code, body)
			}
			if strings.Contains(body, "into another database") {
				said++
			}
		}
		if said != 1 {
			return fmt.Errorf("%d engines say so", said)
		}
		return nil
	})
	nc, err := nats.Connect(url)
	harness.Must(t, err)
	defer nc.Close()
	answers := map[string]int{}
	for range 40 { // either engine answers
		m, err := nc.Request("queries.agents.list", []byte(`{"wait_ms":50}`), 10*time.Second)
		harness.Must(t, err)
		switch code := m.Header.Get("Nats-Service-Error-Code"); {
		case code != "":
			answers[code]++
		case strings.Contains(string(m.Data), `"kept"`):
			answers["right"]++
		default:
			t.Fatalf("a list without an acknowledged write: %s", m.Data)
		}
	}
	if answers["right"] == 0 {
		t.Errorf("no list was answered: %v", answers)
	}
	for _, e := range engines {
		e.Stop()
	}
}
