// Package support starts in-process NATS servers and databases for tests of single
// packages.
package support

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/gate"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// NATS starts a server for the test, with JetStream in a temporary directory.
func NATS(t testing.TB) *embedded.Server { return NATSIn(t, t.TempDir()) }

// NATSIn is NATS on a directory that an earlier server may have used.
func NATSIn(t testing.TB, dir string) *embedded.Server {
	t.Helper()
	return NATSFor(t, embedded.Config{Dir: dir})
}

// NATSFor is a server of a configuration, with the gate that its clients need.
func NATSFor(t testing.TB, cfg embedded.Config) *embedded.Server {
	t.Helper()
	cfg.Listen, cfg.Log, cfg.ReadRaw = "127.0.0.1:0", harness.Log(t), auth.Streams
	cfg.Private = []string{cfg.Prefix + "events.", natsio.IntakeRoot}
	s, err := embedded.Start(cfg)
	harness.Must(t, err)
	t.Cleanup(s.Stop)
	g, err := gate.Start(gate.Config{
		Engine: Engine(t, s), Dev: Connect(t, s.URL(), s.GateOptions()...), Subjects: natsio.NewSubjects(cfg.Prefix),
		Accounts: s.Authority(), Free: auth.Streams, Log: harness.Log(t),
	})
	harness.Must(t, err)
	t.Cleanup(g.Stop)
	return s
}

// PlainNATS is a server that is not the engine's: one user in the global account.
// It returns the URL with the user's password.
func PlainNATS(t testing.TB) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 30, MaxPayload: embedded.MaxPayload,
		Username: "engine", Password: "secret", NoSigs: true, NoLog: true,
	})
	harness.Must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(harness.Patience) {
		t.Fatal("the NATS server is not ready")
	}
	return strings.Replace(s.ClientURL(), "nats://", "nats://engine:secret@", 1)
}

// Engine is a connection with the engine's own rights.
func Engine(t testing.TB, s *embedded.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return Connect(t, s.URL(), append(s.Options(), opts...)...)
}

// Client is a connection with the rights of a client.
func Client(t testing.TB, s *embedded.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return Connect(t, s.URL(), append(opts, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
}

// Connect connects to a server for the time of a test.
func Connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	harness.Must(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// JetStream is the connection's JetStream.
func JetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	return js
}

// Intake is the subject root on which the stream of a journal stores events,
// for tests that write what no engine would.
func Intake(t testing.TB, nc *nats.Conn, stream string) string {
	t.Helper()
	s, err := JetStream(t, nc).Stream(t.Context(), stream)
	harness.Must(t, err)
	return strings.TrimSuffix(s.CachedInfo().Config.Subjects[0], ">")
}
