package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Operator is a connection with the engine's own rights, as its data directory
// notes them.
func (e *Engine) Operator(t testing.TB) *nats.Conn {
	t.Helper()
	var o struct{ User, Password string }
	text, err := os.ReadFile(filepath.Join(e.Data, "operator.json"))
	must(t, err, "read the operator's rights")
	must(t, json.Unmarshal(text, &o), "read the operator's rights")
	nc, err := nats.Connect(e.NATSURL, nats.UserInfo(o.User, o.Password), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	must(t, err, "connect as the operator")
	t.Cleanup(nc.Close)
	return nc
}

// Note publishes a message without a body into a stream.
func Note(t testing.TB, js jetstream.JetStream, subject string, header map[string]string) {
	t.Helper()
	msg := nats.NewMsg(subject)
	for name, value := range header {
		msg.Header.Set(name, value)
	}
	_, err := js.PublishMsg(t.Context(), msg)
	must(t, err, "publish on %s", subject)
}
