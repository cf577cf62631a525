package gate_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// Clients that replace their ordered consumer look for its number at the end of its name, in
// each message; without it they drop the message.
func TestOrderedConsumersOfPrincipals(t *testing.T) {
	r := newRig(t)
	_, err := r.engine.Publish(t.Context(), "agents.state.bob.k", []byte("1"))
	harness.Must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	js := support.JetStream(t, r.bob)
	for _, prefix := range []string{"", "dashboard"} {
		c, err := js.OrderedConsumer(ctx, "AGENT_STATE", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"agents.state.bob.>"}, NamePrefix: prefix})
		harness.Must(t, err)
		it, err := c.Messages()
		harness.Must(t, err)
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil || m.Subject() != "agents.state.bob.k" {
			t.Errorf("prefix %q: %v, %v", prefix, m, err)
		}
		it.Stop()
		if name := c.CachedInfo().Name; !strings.Contains(name, prefix+"_") {
			t.Errorf("the consumer is %s", name)
		}
	}
}
