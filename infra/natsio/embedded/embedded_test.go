package embedded_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(encryptDir); dir != "" {
		encryptIn(dir)
	}
	harness.Main(m)
}

func TestListensOnLoopbackOnly(t *testing.T) {
	for listen, why := range map[string]string{
		"0.0.0.0:0": "loopback only", "[::]:0": "loopback only", "192.0.2.1:0": "loopback only", "example.com:0": "loopback only",
		":0": "loopback only", "127.0.0.1": "missing port", "127.0.0.1:x": "not a number", "127.0.0.1:-1": "not a number",
		"127.0.0.1:65536": "not a number", "": "missing port",
	} {
		s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: listen, Log: harness.Log(t)})
		if err == nil {
			s.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "--nats-listen") {
			t.Errorf("%q: %v", listen, err)
		}
	}
}

func TestATakenPortIsAClearError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	defer l.Close()
	_, err = embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: l.Addr().String(), Log: harness.Log(t)})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Error(err)
	}
}

// A server that cannot use its files is refused, and not served without streams.
func TestFilesThatCannotBeUsed(t *testing.T) {
	for _, key := range []string{"", storageKey} {
		dir := t.TempDir()
		harness.Must(t, os.Mkdir(filepath.Join(dir, "nats"), 0o700))
		harness.Must(t, os.Symlink(filepath.Join(dir, "a disk that is not mounted", "x"), filepath.Join(dir, "nats", "jetstream")))
		s, err := embedded.Start(embedded.Config{Dir: dir, Listen: "127.0.0.1:0", Key: key, Log: harness.Log(t)})
		if err == nil {
			s.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), "cannot use its files") {
			t.Error(err)
		}
	}
}

func TestServes(t *testing.T) {
	dir := t.TempDir()
	for _, synced := range []bool{true, false} {
		s, err := embedded.Start(embedded.Config{Dir: dir, Listen: "localhost:0", Synced: synced, Log: harness.Log(t)})
		harness.Must(t, err)
		nc, err := nats.Connect("nats://nowhere.invalid:1", s.Options()...) // in process, whatever the URL
		harness.Must(t, err)
		js := support.JetStream(t, nc)
		if _, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.>"}}); err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(t.Context(), "kept.a", make([]byte, 5<<20)) // the largest message of the topology document
		if err != nil || ack.Sequence == 0 {
			t.Fatal(ack, err)
		}
		if nc.MaxPayload() != embedded.MaxPayload {
			t.Errorf("max_payload is %d", nc.MaxPayload())
		}
		if other, err := nats.Connect(s.URL()); err != nil {
			t.Errorf("another client: %v", err)
		} else {
			other.Close()
		}
		if !strings.HasPrefix(s.Version(), "2.") {
			t.Errorf("version %q", s.Version())
		}
		nc.Close()
		s.Stop()
	}
	s := support.NATSIn(t, dir)
	stream, err := support.JetStream(t, support.Engine(t, s)).Stream(t.Context(), "KEPT")
	if err != nil || stream.CachedInfo().State.Msgs != 2 {
		t.Errorf("after two restarts: %+v, %v", stream, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "nats", "jetstream")); err != nil {
		t.Error(err)
	}
}
