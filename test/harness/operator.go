package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Operator returns a connection with the engine's own rights, from its data
// directory.
func (e *Engine) Operator(t testing.TB) *nats.Conn {
	t.Helper()
	var o struct{ Creds string }
	text, err := os.ReadFile(filepath.Join(e.Data, "operator.json"))
	Mustf(t, err, "read the operator's rights")
	Mustf(t, json.Unmarshal(text, &o), "read the operator's rights")
	nc, err := nats.Connect(e.NATSURL, nats.UserCredentialBytes([]byte(o.Creds)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	Mustf(t, err, "connect as the operator")
	t.Cleanup(nc.Close)
	return nc
}

// OperatorJetStream is JetStream with the engine's own rights.
func (e *Engine) OperatorJetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(e.Operator(t), Patient)
	Must(t, err)
	return js
}

// PublishEmpty publishes a message without a body into a stream.
func PublishEmpty(t testing.TB, js jetstream.JetStream, subject string, header map[string]string) {
	t.Helper()
	msg := nats.NewMsg(subject)
	for name, value := range header {
		msg.Header.Set(name, value)
	}
	_, err := js.PublishMsg(t.Context(), msg)
	Mustf(t, err, "publish on %s", subject)
}
