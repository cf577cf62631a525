package faults

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// natsServer runs a server on a directory and a port; stop ends it.
func natsServer(t *testing.T, dir string, port int) (stop func()) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, JetStreamMaxStore: 64 << 30, MaxPayload: 8 << 20, NoSigs: true, NoLog: true,
	})
	harness.Must(t, err)
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	return func() { s.Shutdown(); s.WaitForShutdown() }
}

// TestExternalStoreRolledBack: an older copy of an external server's directory
// under a running engine is noticed, and one command heals what differs.
func TestExternalStoreRolledBack(t *testing.T) {
	t.Parallel()
	store, older := filepath.Join(harness.TempDir(t), "store"), filepath.Join(harness.TempDir(t), "older")
	port := harness.FreePorts(t, 1)[0]
	stop := natsServer(t, store, port)
	t.Cleanup(func() { stop() })
	e := harness.New(t, harness.Config{Args: []string{"--nats", "nats://127.0.0.1:" + strconv.Itoa(port)}, Env: []string{"TIDEMARK_LIFECYCLE=manual"}})
	e.Restart()
	if u, err := url.Parse(e.NATSURL); err != nil || u.Port() != strconv.Itoa(port) {
		t.Fatal(e.NATSURL, err)
	}
	c := e.Client(t)
	for i := range 5 {
		c.MustSet(t, "a", fmt.Sprint("k", i), i, nil)
	}
	c.CaughtUp(t)
	stop()
	harness.Must(t, os.CopyFS(older, os.DirFS(store)))
	stop = natsServer(t, store, port)
	harness.Within(t, time.Minute, "the engine works again", func() error {
		_, err := c.Set(t.Context(), "a", "again", 1, nil)
		return err
	})
	for i := range 10 {
		c.MustSet(t, "a", fmt.Sprint("k", i), "later", nil)
	}
	harness.Eventually(t, "SQL has the newest value", func() error {
		_, err := c.Get(t.Context(), "a", "k9", harness.M{"consistency": "durable"})
		return err
	})
	stop()
	harness.Must(t, os.RemoveAll(store))
	harness.Must(t, os.CopyFS(store, os.DirFS(older)))
	stop = natsServer(t, store, port)
	harness.Within(t, time.Minute, "commands are refused, and the engine is not ready", func() error {
		_, err := c.Set(t.Context(), "a", "refused", 1, nil)
		no := harness.Refused(err)
		if code, body := e.Ready(); no == nil || no.Status != 503 || no.Code != "journal.rolled_back" || code != 503 || !strings.Contains(body, "journal.rolled_back") {
			return fmt.Errorf("%w; /readyz is %d %s", err, code, body)
		}
		return nil
	})
	if r := e.Run("rebuild", "all", "--accept-journal"); r.Code != 0 {
		t.Fatalf("rebuild: %s%s", r.Stdout, r.Stderr)
	}
	e.Await()
	c.MustSet(t, "a", "after", 1, nil)
	for i := range 5 {
		for _, consistency := range []string{"cached", "hot", "durable"} {
			if got := c.MustGet(t, "a", fmt.Sprint("k", i), harness.M{"consistency": consistency}); string(got.Value) != strconv.Itoa(i) {
				t.Errorf("%s k%d: %+v", consistency, i, got)
			}
		}
	}
	c.CaughtUp(t)
	e.Verify()
}
