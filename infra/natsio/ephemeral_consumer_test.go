package natsio

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestEphemeralConsumerAfterALostRequest: a server that restarts drops requests; the read
// behind one must not wait for its whole time, which may be minutes.
func TestEphemeralConsumerAfterALostRequest(t *testing.T) {
	t.Parallel()
	nc, err := nats.Connect(run(t, server.Options{}).ClientURL())
	harness.Must(t, err)
	defer nc.Close()
	var asked atomic.Int32
	_, err = nc.Subscribe("$JS.API.CONSUMER.CREATE.S.>", func(m *nats.Msg) {
		if asked.Add(1) == 1 {
			return
		}
		var request struct{ Config json.RawMessage }
		_ = json.Unmarshal(m.Data, &request)
		body, _ := json.Marshal(map[string]any{"stream_name": "S", "name": strings.Split(m.Subject, ".")[5], "config": request.Config})
		_ = m.Respond(body)
	})
	harness.Must(t, err)
	harness.Must(t, nc.Flush())
	js, err := jetstream.New(nc)
	harness.Must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, end, err := EphemeralConsumer(ctx, js, "S", jetstream.OrderedConsumerConfig{})
	if err != nil || c == nil || asked.Load() < 2 {
		t.Fatalf("after %d requests: %v", asked.Load(), err)
	}
	cancel() // nothing answers the deletion
	end()
}
