package observe

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestFrozenNATS: while a NATS server takes connections and does not answer, the engine says so
// at once. The client of NATS keeps its lock while it dials; a probe that waited for it would
// have Kubernetes end the engine.
func TestFrozenNATS(t *testing.T) {
	dir := t.TempDir()
	port := harness.FreePorts(t, 1)[0]
	conf := filepath.Join(dir, "nats.conf")
	harness.Must(t, os.WriteFile(conf, fmt.Appendf(nil, "listen: 127.0.0.1:%d\nmax_payload: 8MB\njetstream { store_dir: %q, max_file: 64GB }\n", port, dir), 0o600))
	server := harness.StartNATSServer(t, "nats", conf)
	e := harness.Start(t, harness.Config{Args: []string{"--nats", fmt.Sprintf("nats://127.0.0.1:%d", port), "--postgres", "off"}})
	server.Signal(syscall.SIGSTOP)
	harness.Eventually(t, "the engine is not ready because of NATS", func() error {
		if code, body := e.Ready(); code != http.StatusServiceUnavailable || !strings.Contains(body, `"component":"nats"`) {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	const probes = 15
	late := 0
	for i := range probes {
		path, want := "/healthz", http.StatusOK
		if i%3 == 2 {
			path = "/metrics"
		}
		began := time.Now()
		if code, _ := ask(t, e.HTTPURL+path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
		if time.Since(began) > time.Second {
			late++
		}
		time.Sleep(300 * time.Millisecond) // not a wait for anything: the probes come again
	}
	if late > probes/3 { // a busy machine may be late too
		t.Errorf("%d of %d answers took more than a second", late, probes)
	}
	if code, page := ask(t, e.HTTPURL+"/"); code != http.StatusServiceUnavailable || !strings.Contains(page, "NATS server") || strings.Contains(page, fmt.Sprint(port)) {
		t.Errorf("the console: %d, want 503 and no address of the server\n%s", code, page)
	}
	server.Signal(syscall.SIGCONT)
	harness.Eventually(t, "the engine is ready again", func() error {
		if code, body := e.Ready(); code != http.StatusOK {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

// ask is the status and the body of an answer.
func ask(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	harness.Must(t, err)
	req.Close = true // no connection outlives its answer
	answer, err := http.DefaultClient.Do(req)
	harness.Must(t, err)
	body, err := io.ReadAll(answer.Body)
	harness.Must(t, err)
	harness.Must(t, answer.Body.Close())
	return answer.StatusCode, string(body)
}
