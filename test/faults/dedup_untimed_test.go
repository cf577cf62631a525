package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestUntimedIDBeyondTheDuplicateWindow repeats commands whose ids carry no
// time after the journal's duplicate window, shortened for this test, has
// passed. The engine must find them in the archive, also after a restart.
func TestUntimedIDBeyondTheDuplicateWindow(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	js := e.OperatorJetStream(t)
	stream, err := js.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	cfg := stream.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	_, err = js.UpdateStream(t.Context(), cfg)
	harness.Must(t, err)

	first := map[string]harness.Receipt{}
	send := func(n int) (harness.Receipt, error) {
		return c.Command(t.Context(), fmt.Sprintf("commands.agent.a%d.set", n%3), fmt.Sprint("order-", n),
			fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, n))
	}
	for n := range 12 {
		r, err := send(n)
		harness.Must(t, err)
		if r.Outcome != "accepted" || r.Replayed {
			t.Fatalf("%+v", r)
		}
		first[r.CommandID] = r
	}
	c.CaughtUp(t)

	// The window has passed when the journal accepts a message id a second
	// time.
	probe := &nats.Msg{Subject: "forget.me", Header: nats.Header{nats.MsgIdHdr: {"probe"}}}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FORGET", Subjects: []string{probe.Subject}, Duplicates: cfg.Duplicates})
	harness.Must(t, err)
	_, err = js.PublishMsg(t.Context(), probe)
	harness.Must(t, err)
	harness.Eventually(t, "the window passes", func() error {
		if ack, err := js.PublishMsg(t.Context(), probe); err != nil || ack.Duplicate {
			return fmt.Errorf("%+v %w", ack, err)
		}
		return nil
	})

	again := func(when string) {
		t.Helper()
		for n := range 12 {
			r, err := send(n)
			want := first[fmt.Sprint("order-", n)]
			want.Replayed = true
			if err != nil || r != want {
				t.Errorf("%s, order-%d: %+v, %v; want %+v", when, n, r, err, want)
			}
		}
		if all := harness.States(c.Journal(t)); len(all) != 12 {
			t.Errorf("%s: the journal has %d events, want 12", when, len(all))
		}
	}
	again("beyond the window")
	e.Kill()
	e.Restart()
	c.CaughtUp(t) // a kill loses what the archive has not written yet, which the real window covers
	again("after a kill")
	e.Verify()
}
