package natsio_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestCheckAccountAsksAgain: servers that elect their leader ignore the first request.
func TestCheckAccountAsksAgain(t *testing.T) {
	nc, err := nats.Connect(support.PlainNATS(t))
	harness.Must(t, err)
	defer nc.Close()
	var asked atomic.Int32
	_, err = nc.Subscribe("slow.INFO", func(m *nats.Msg) {
		switch asked.Add(1) {
		case 1:
		case 2:
			_ = m.Respond([]byte(`{"type":"io.nats.jetstream.api.v1.account_info_response","error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`))
		default:
			_ = m.Respond([]byte(`{"type":"io.nats.jetstream.api.v1.account_info_response","limits":{"max_streams":-1,"max_consumers":-1}}`))
		}
	})
	harness.Must(t, err)
	harness.Must(t, nc.Flush())
	js, err := jetstream.NewWithAPIPrefix(nc, "slow")
	harness.Must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	began := time.Now()
	harness.Must(t, natsio.CheckAccount(ctx, js, nil, 1))
	if n := asked.Load(); n != 3 {
		t.Errorf("%d requests in %s", n, time.Since(began))
	}
}
