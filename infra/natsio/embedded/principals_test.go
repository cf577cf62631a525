package embedded_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// A principal is admitted as soon as it is made, and its connections end when its
// credentials do; others stay connected.
func TestPrincipalsComeAndGo(t *testing.T) {
	s := support.NATSFor(t, embedded.Config{Dir: t.TempDir(), Auth: true})
	a := s.Authority()
	if nc, err := nats.Connect(s.URL()); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("without credentials: %v", err)
	}
	connect := func(creds []byte) (nc *nats.Conn, gone chan struct{}, err error) {
		gone = make(chan struct{})
		nc, err = nats.Connect(s.URL(), nats.UserCredentialBytes(creds), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
		if err == nil {
			t.Cleanup(nc.Close)
		}
		return nc, gone, err
	}
	first, err := a.NewPrincipal("alice")
	harness.Must(t, err)
	bob, err := a.NewPrincipal("bob")
	harness.Must(t, err)
	alice, gone, err := connect(first)
	harness.Must(t, err)
	other, _, err := connect(bob)
	harness.Must(t, err)
	harness.Must(t, alice.Flush())
	second, err := a.Rotate("alice")
	harness.Must(t, err)
	harness.Receive(t, "the end of the connection with rotated credentials", harness.Closed(gone))
	if _, _, err := connect(first); err == nil {
		t.Error("rotated credentials are admitted")
	}
	_, gone, err = connect(second)
	harness.Must(t, err)
	harness.Must(t, a.Revoke("alice"))
	harness.Receive(t, "the end of the connection with revoked credentials", harness.Closed(gone))
	if _, _, err := connect(second); err == nil {
		t.Error("revoked credentials are admitted")
	}
	harness.Must(t, other.Flush())
	third, err := a.NewPrincipal("alice") // the name may be used again
	harness.Must(t, err)
	_, _, err = connect(third)
	harness.Must(t, err)
}

// The streams of an earlier build belong to the engine's account afterwards.
func TestStreamsOfOneAccountMove(t *testing.T) {
	dir := t.TempDir()
	s := support.NATSIn(t, dir)
	js := support.JetStream(t, support.Engine(t, s))
	_, err := js.CreateStream(t.Context(), streamConfig("KEPT"))
	harness.Must(t, err)
	_, err = js.Publish(t.Context(), "kept.a", []byte("x"))
	harness.Must(t, err)
	s.Stop()
	root := filepath.Join(dir, "nats", "jetstream")
	harness.Must(t, os.Rename(filepath.Join(root, s.Authority().Engine()), filepath.Join(root, "$G"))) // as it was
	again := support.NATSIn(t, dir)
	stream, err := support.JetStream(t, support.Engine(t, again)).Stream(t.Context(), "KEPT")
	if err != nil || stream.CachedInfo().State.Msgs != 1 {
		t.Errorf("%+v, %v", stream, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "nats", "moved-streams.txt")); err != nil {
		t.Error(err)
	}
	again.Stop()
	harness.Must(t, os.MkdirAll(filepath.Join(root, "$G", "streams", "LATER"), 0o750))
	if _, err := embedded.Start(embedded.Config{Dir: dir, Listen: "127.0.0.1:0", Log: harness.Log(t)}); err == nil {
		t.Error("streams of two builds are mixed")
	}
}

// The streams of the engine and of its clients are found again after a restart, and when a
// backup was restored without its keys.
func TestABackupWithoutItsKeys(t *testing.T) {
	cfg := embedded.Config{Dir: t.TempDir(), Journal: "EVENTS"}
	s := support.NATSFor(t, cfg)
	_, err := support.JetStream(t, support.Engine(t, s)).CreateStream(t.Context(), streamConfig("EVENTS"))
	harness.Must(t, err)
	_, err = own(t, support.Client(t, s), jetstream.StreamConfig{}).Publish(t.Context(), "own.a", []byte("x"))
	harness.Must(t, err)
	found := func(what string) {
		t.Helper()
		s = support.NATSFor(t, cfg)
		if _, err := support.JetStream(t, support.Engine(t, s)).Stream(t.Context(), "EVENTS"); err != nil {
			t.Errorf("%s: the journal: %v", what, err)
		}
		stream, err := support.JetStream(t, support.Client(t, s)).Stream(t.Context(), "OWN")
		if err != nil || stream.CachedInfo().State.Msgs != 1 {
			t.Errorf("%s: the client's stream: %v", what, err)
		}
	}
	s.Stop()
	found("restarted")
	s.Stop()
	harness.Must(t, os.RemoveAll(embedded.KeysDir(cfg.Dir)))
	found("without keys")
}
