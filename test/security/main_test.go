// Package security attacks a running engine with plain clients: without
// credentials in development mode, where the attacker has a JetStream of its own,
// and as a principal among others.
package security

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// answerTime bounds the answer to a request that is refused or unheard.
const answerTime = 5 * time.Second

// jsAPI sends a request of the JetStream API and returns the code of its error; 0
// is success, 503 no answer.
func jsAPI(t testing.TB, nc *nats.Conn, api, body string) (code int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerTime)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, "$JS.API."+api, []byte(body))
	if err != nil {
		return 503, err.Error()
	}
	if status := m.Header.Get("Status"); status != "" {
		return 400, status + " " + m.Header.Get("Description")
	}
	var got struct {
		Error *struct {
			Code        int
			Description string
		}
	}
	if err := json.Unmarshal(m.Data, &got); err != nil {
		return 0, string(m.Data)
	}
	if got.Error != nil {
		return got.Error.Code, got.Error.Description
	}
	return 0, string(m.Data)
}

// violation waits for the server's refusal of a subject.
func violation(t testing.TB, broken <-chan error, part string) {
	t.Helper()
	limit := time.NewTimer(harness.Patience)
	defer limit.Stop()
	for {
		select {
		case err := <-broken:
			if text := strings.ToLower(err.Error()); strings.Contains(text, "violation") && strings.Contains(text, strings.ToLower(part)) {
				return
			}
		case <-limit.C:
			t.Errorf("%s was not refused", part)
			return
		}
	}
}

// attacker is a connection that collects what the server refuses.
func attacker(t testing.TB, e *harness.Engine, opts ...nats.Option) (c *harness.Client, broken chan error) {
	t.Helper()
	broken = make(chan error, 10_000)
	return e.Client(t, append(opts, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case broken <- err:
		default:
		}
	}))...), broken
}

// hears reports the first message on a subscription after the attack is through.
func hears(t testing.TB, sub *nats.Subscription) *nats.Msg {
	t.Helper()
	m, err := sub.NextMsg(50 * time.Millisecond)
	if errors.Is(err, nats.ErrTimeout) {
		return nil
	}
	if err != nil && !errors.Is(err, nats.ErrBadSubscription) && !strings.Contains(err.Error(), "ermissions") {
		t.Fatal(err)
	}
	return m
}
