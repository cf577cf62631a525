// Package support starts in-process NATS servers and databases for tests of single
// packages.
package support

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// NATS starts a server for the test, with JetStream in a temporary directory.
func NATS(t testing.TB) *embedded.Server { return NATSIn(t, t.TempDir()) }

// NATSIn is NATS on a directory that an earlier server may have used.
func NATSIn(t testing.TB, dir string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(embedded.Config{
		Dir: dir, Listen: "127.0.0.1:0", Private: []string{"events.", "$TIDEMARK."},
		Streams: []string{"EVENTS", "EVENTS_0", "EVENTS_1", "EVENTS_2", "EVENTS_3"}, Log: harness.Log(t),
	})
	harness.Must(t, err)
	t.Cleanup(s.Stop)
	return s
}

// Engine is a connection with the engine's own rights.
func Engine(t testing.TB, s *embedded.Server) *nats.Conn {
	t.Helper()
	return connect(t, s.URL(), s.Options()...)
}

// Client is a connection with the rights of a client.
func Client(t testing.TB, s *embedded.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, s.URL(), append(opts, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
}

func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	harness.Must(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// JetStream is the connection's JetStream.
func JetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
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
