package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// operator is a JetStream with the engine's own rights.
func operator(t *testing.T, e *harness.Engine) jetstream.JetStream {
	t.Helper()
	var o struct{ User, Password string }
	body, err := os.ReadFile(filepath.Join(e.Data, "operator.json"))
	must(t, err)
	must(t, json.Unmarshal(body, &o))
	nc, err := nats.Connect(e.NATSURL, nats.UserInfo(o.User, o.Password))
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	return js
}

// TestAnIDWithoutATimeBeyondTheWindow sends ids that do not carry their time
// again, when the journal's duplicate window, made short for this test, has
// forgotten them: what remains is the archive, also after a restart.
func TestAnIDWithoutATimeBeyondTheWindow(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	js := operator(t, e)
	stream, err := js.Stream(t.Context(), "EVENTS")
	must(t, err)
	cfg := stream.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	_, err = js.UpdateStream(t.Context(), cfg)
	must(t, err)

	first := map[string]harness.Receipt{}
	send := func(n int) (harness.Receipt, error) {
		return c.Command(t.Context(), fmt.Sprintf("commands.agent.a%d.set", n%3), fmt.Sprint("order-", n),
			fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, n))
	}
	for n := range 12 {
		r, err := send(n)
		must(t, err)
		if r.Outcome != "accepted" || r.Replayed {
			t.Fatalf("%+v", r)
		}
		first[r.CommandID] = r
	}
	c.Level(t, 20*time.Second)

	// The window has passed when the journal takes a message id anew.
	probe := &nats.Msg{Subject: "forget.me", Header: nats.Header{nats.MsgIdHdr: {"probe"}}}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FORGET", Subjects: []string{probe.Subject}, Duplicates: cfg.Duplicates})
	must(t, err)
	_, err = js.PublishMsg(t.Context(), probe)
	must(t, err)
	harness.Within(t, 20*time.Second, "the window passes", func() error {
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
	c.Level(t, 20*time.Second) // what the archive lost is well within the real window, not within this one
	again("after a kill")
	e.Verify()
}
