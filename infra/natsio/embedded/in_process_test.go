package embedded_test

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// Credentials that the server does not know are refused in process too, and at once.
func TestClientsInProcess(t *testing.T) {
	for _, auth := range []bool{true, false} {
		s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Auth: auth, Log: slog.New(slog.DiscardHandler)})
		harness.Must(t, err)
		defer s.Stop()
		connect := func(opts ...nats.Option) (*nats.Conn, error) {
			return natsio.Connect(embedded.InProcess, "test", slog.New(slog.DiscardHandler), append(s.ClientOptions(), opts...)...)
		}
		account, err := nkeys.CreateAccount()
		harness.Must(t, err)
		user, err := nkeys.CreateUser()
		harness.Must(t, err)
		key, err := user.PublicKey()
		harness.Must(t, err)
		seed, err := user.Seed()
		harness.Must(t, err)
		token, err := jwt.NewUserClaims(key).Encode(account)
		harness.Must(t, err)
		credentials, err := jwt.FormatUserConfig(token, seed)
		harness.Must(t, err)
		if _, err := connect(nats.UserCredentialBytes(credentials), nats.NoReconnect()); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("unknown credentials: %v", err)
		}
		nc, err := connect(nats.NoReconnect())
		if auth {
			if !errors.Is(err, nats.ErrAuthorization) {
				t.Errorf("no credentials: %v", err)
			}
			continue
		}
		harness.Must(t, err)
		defer nc.Close()
		sub, err := nc.SubscribeSync("test.large")
		harness.Must(t, err)
		large := bytes.Repeat([]byte("x"), 500<<10)
		for range 20 { // more than waits for the server
			harness.Must(t, nc.Publish("test.large", large))
		}
		for range 20 {
			m, err := sub.NextMsg(harness.Patience)
			harness.Must(t, err)
			if !bytes.Equal(m.Data, large) {
				t.Fatal("a message is damaged")
			}
		}
	}
}
