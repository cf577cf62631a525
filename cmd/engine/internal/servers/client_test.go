package servers

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// On an external server a client of /mcp has its own rights, not the engine's.
func TestClientsOfAnExternalServer(t *testing.T) {
	pair, err := nkeys.CreateUser()
	harness.Must(t, err)
	key, err := pair.PublicKey()
	harness.Must(t, err)
	seed, err := pair.Seed()
	harness.Must(t, err)
	stranger, err := nkeys.CreateUser()
	harness.Must(t, err)
	unknown, err := stranger.Seed()
	harness.Must(t, err)
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		Users: []*server.User{{Username: "engine", Password: "secret"}},
		Nkeys: []*server.NkeyUser{{Nkey: key, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"engine.>"}}}}}})
	harness.Must(t, err)
	ns.Start()
	defer ns.WaitForShutdown()
	defer ns.Shutdown()

	url := "nats://engine:secret@" + ns.Addr().String()
	n := &NATS{URL: url, access: []nats.Option{nats.UserInfo("engine", "secret")}, Log: slog.New(slog.DiscardHandler)}
	closed := make(chan struct{}, 1)
	nc, err := n.DialClient("mcp", seed, natsio.Access{}, func() { closed <- struct{}{} })
	harness.Must(t, err)
	refused := make(chan error, 1)
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	harness.Must(t, nc.Publish("engine.secret", nil))
	if err := harness.Receive(t, "a refusal", refused); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Error(err)
	}
	nc.Close()
	harness.Receive(t, "the end", closed)
	if _, err := n.DialClient("mcp", unknown, natsio.Access{}, func() {}); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a key that the server does not know: %v", err)
	}
}
