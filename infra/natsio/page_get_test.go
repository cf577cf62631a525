package natsio_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestPageOfASlowServer: a server that answers late is waited for, and one that stops in
// the middle of a page is an error, not the end of the stream.
func TestPageOfASlowServer(t *testing.T) {
	nc, err := nats.Connect(support.PlainNATS(t))
	harness.Must(t, err)
	defer nc.Close()
	message := func(m *nats.Msg, seq, pending int) {
		_ = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Data: []byte("x"), Header: nats.Header{
			"Nats-Sequence": {fmt.Sprint(seq)}, "Nats-Time-Stamp": {time.Now().UTC().Format(time.RFC3339Nano)}, "Nats-Subject": {"s"}, "Nats-Stream": {"SLOW"},
			"Nats-Num-Pending": {fmt.Sprint(pending)},
		}})
	}
	end := func(m *nats.Msg) {
		_ = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: nats.Header{"Status": {"204"}, "Description": {"EOB"}}})
	}
	var answer atomic.Pointer[func(m *nats.Msg)]
	_, err = nc.Subscribe("$JS.API.DIRECT.GET.SLOW", func(m *nats.Msg) { (*answer.Load())(m) })
	harness.Must(t, err)
	harness.Must(t, nc.Flush())
	for _, c := range []struct {
		name   string
		answer func(m *nats.Msg)
		n      int
		more   bool
		ends   bool
	}{
		{"late", func(m *nats.Msg) { time.Sleep(2500 * time.Millisecond); message(m, 1, 0); end(m) }, 1, false, true}, // the client's own timeout is two seconds
		{"cut by bytes", func(m *nats.Msg) { message(m, 1, 7); end(m) }, 1, true, true},
		{"empty", end, 0, false, true},
		{"none", func(*nats.Msg) {}, 0, false, false},
		{"stops in the middle", func(m *nats.Msg) { message(m, 1, 7) }, 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer.Store(&c.answer)
			ctx := t.Context()
			if !c.ends {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
			}
			msgs, more, err := natsio.PageQuery{FromSeq: 1, Batch: 10}.Page(ctx, nc, "SLOW")
			if len(msgs) != c.n || more != c.more || (err == nil) != c.ends || !c.ends && (!errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "SLOW")) {
				t.Errorf("%d messages, more %t, %v", len(msgs), more, err)
			}
		})
	}
}
