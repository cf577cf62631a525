package gate_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/gate"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// unsure knows nothing of one stream yet.
type unsure struct{ gate.Access }

func (unsure) Unsure(stream string) bool { return stream == "KV_AGENT_STATE" }

// A consumer ends with the right that it was made with; others, and those of streams whose
// content is not known yet, stay.
func TestConsumersEndWithTheirRights(t *testing.T) {
	r := newRig(t)
	bob := support.JetStream(t, r.bob)
	create := func(js jetstream.JetStream, stream, filter string) string {
		t.Helper()
		c, err := js.CreateOrUpdateConsumer(t.Context(), stream, jetstream.ConsumerConfig{FilterSubject: filter})
		harness.Must(t, err)
		return c.CachedInfo().Name
	}
	ends, stays := create(bob, "AGENT_STATE", "agents.state.bob.>"), create(support.JetStream(t, r.carol), "AGENT_STATE", "")
	unknown := create(bob, "KV_AGENT_STATE", "$KV.AGENT_STATE.bob.>")
	r.rights.Store(map[string]gate.Access{"bob": unsure{own{"another"}}, "carol": gate.Everything{}})
	r.gate.Recheck()
	harness.Eventually(t, "the end of bob's consumer", func() error {
		_, err := r.engine.Consumer(t.Context(), "AGENT_STATE", ends)
		if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return errors.Join(err, errors.New("it is there"))
		}
		return nil
	})
	for name, stream := range map[string]string{stays: "AGENT_STATE", unknown: "KV_AGENT_STATE"} {
		if _, err := r.engine.Consumer(t.Context(), stream, name); err != nil {
			t.Errorf("%s of %s: %v", name, stream, err)
		}
	}
	// A principal that is no more has no consumers.
	harness.Must(t, r.authority.Revoke("bob"))
	r.rights.Store(map[string]gate.Access{"bob": gate.Nothing{}, "carol": gate.Everything{}})
	r.gate.Recheck()
	harness.Eventually(t, "the end of bob's other consumer", func() bool {
		m, err := r.engine.Conn().Request("$JS.API.CONSUMER.NAMES.KV_AGENT_STATE", nil, harness.Patience)
		return err == nil && !strings.Contains(string(m.Data), unknown)
	})
}

// The shared consumers of workers are not for principals, which could not acknowledge.
func TestSharedConsumersAreNotPulled(t *testing.T) {
	r := newRig(t)
	_, err := r.engine.CreateStream(t.Context(), jetstream.StreamConfig{Name: "AGENT_MESSAGES", Subjects: []string{"messages.>"}})
	harness.Must(t, err)
	shared, err := r.engine.CreateConsumer(t.Context(), "AGENT_MESSAGES", jetstream.ConsumerConfig{Durable: "message-batch-processor"})
	harness.Must(t, err)
	_, err = r.engine.Publish(t.Context(), "messages.broadcast.alice", []byte("x"))
	harness.Must(t, err)
	harness.Must(t, r.authority.Apply("carol", []string{"messages.>"}, nil))
	ordered := func() (m jetstream.Msg, err error) {
		c, err := support.JetStream(t, r.carol).OrderedConsumer(t.Context(), "AGENT_MESSAGES", jetstream.OrderedConsumerConfig{})
		if err != nil {
			return nil, err
		}
		return c.Next(jetstream.FetchMaxWait(harness.Patience))
	}
	harness.Eventually(t, "a consumer of carol's own", func() error { _, err := ordered(); return err })
	m, err := r.carol.Request("$JS.API.CONSUMER.MSG.NEXT.AGENT_MESSAGES.message-batch-processor", []byte(`{"batch":1}`), harness.Patience)
	if !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("carol pulls %+v, %v", m, err)
	}
	if info, err := shared.Info(t.Context()); err != nil || info.NumPending != 1 || info.NumAckPending != 0 {
		t.Errorf("the shared consumer: %+v %v", info, err)
	}
}

// Who knows the name of a consumer that the operator's topology has on a stream pulls nothing
// from it, also when it was made while principals are connected.
func TestConsumersOfTheTopologyAreClosed(t *testing.T) {
	r := newRig(t)
	closed := func(nc *nats.Conn) bool { // an open consumer answers, also that it has no messages
		_, err := nc.Request("$JS.API.CONSUMER.MSG.NEXT.AGENT_STATE.billing", []byte(`{"batch":1,"no_wait":true}`), harness.Patience)
		return errors.Is(err, nats.ErrNoResponders)
	}
	before, err := r.engine.CreateConsumer(t.Context(), "AGENT_STATE", jetstream.ConsumerConfig{Durable: "billing", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: -1, AckWait: 100 * time.Millisecond})
	harness.Must(t, err)
	for name, nc := range map[string]*nats.Conn{"bob": r.bob, "carol": r.carol} { // carol may read the stream, and not take what the worker waits for
		harness.Eventually(t, name+" cannot pull", func() bool { return closed(nc) })
	}
	m, err := before.Next(jetstream.FetchMaxWait(harness.Patience))
	harness.Must(t, err)
	harness.Must(t, m.Ack())
	js := support.JetStream(t, r.bob)
	c, err := js.CreateConsumer(t.Context(), "AGENT_STATE", jetstream.ConsumerConfig{Name: "own", FilterSubject: "agents.state.bob.>"})
	harness.Must(t, err)
	if m, err := c.Next(jetstream.FetchMaxWait(harness.Patience)); err != nil || m.Subject() != "agents.state.bob.k" {
		t.Errorf("bob's own consumer: %v", err)
	}
}
