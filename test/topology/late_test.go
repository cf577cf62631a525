package topology

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestServersComeLater: an engine that starts before the servers of its cluster, as after a power
// failure, waits for them and for their leader. The log says at once which address does not answer.
func TestServersComeLater(t *testing.T) {
	t.Parallel()
	dir := harness.TempDir(t)
	ports := harness.FreePorts(t, 6)
	var urls, routes []string
	for i := range 3 {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[3+i]))
	}
	e := harness.New(t, harness.Config{Args: []string{"--postgres", "off", "--nats", strings.Join(urls, ",")}})
	e.Launch()
	harness.Eventually(t, "the engine says that it waits", func() bool {
		return strings.Contains(e.Log(), "waits for the NATS server") && strings.Contains(e.Log(), "no NATS server answers at "+urls[0])
	})
	for i := range 3 {
		config := filepath.Join(dir, fmt.Sprintf("n%d.conf", i))
		harness.Must(t, os.WriteFile(config, fmt.Appendf(nil, `
server_name: n%d
listen: 127.0.0.1:%d
max_payload: 8MB
server_tags: ["agent-state", "critical", "task-execution", "audit", "messaging", "ephemeral", "session-data", "user-state", "configuration", "persistent", "cache", "task-state", "execution"]
jetstream { store_dir: %q }
cluster { name: late, listen: 127.0.0.1:%d, routes: [%s], no_advertise: true }
`, i, ports[i], filepath.Join(dir, fmt.Sprint("js", i)), ports[3+i], strings.Join(routes, ", ")), 0o600))
		harness.StartNATSServer(t, fmt.Sprint("nats-", i), config)
		time.Sleep(2 * time.Second) // one alone has no leader
	}
	e.Await()
	e.Client(t).MustSet(t, "a1", "k", 1, nil)
	e.Stop()
}
