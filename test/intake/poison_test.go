package intake_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// manyDeliveries are more than a command that crashes its engine gets.
const manyDeliveries = 26

// lane is the consumer of the only command in COMMANDS.
func (r *rig) lane() jetstream.Consumer {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), intake.CommandsStream)
	harness.Must(r.t, err)
	m, err := s.GetLastMsgForSubject(r.t.Context(), "lanes.>")
	harness.Must(r.t, err)
	lane := 0
	_, err = fmt.Sscanf(m.Subject, "lanes.%d.", &lane)
	harness.Must(r.t, err)
	c, err := s.Consumer(r.t.Context(), fmt.Sprint("lane-", lane))
	harness.Must(r.t, err)
	return c
}

// TestACommandThatCrashesItsEngine: a command whose deliveries were used up before the engine
// started may have ended each engine that executed it. It is a dead letter with an outcome, and
// the later ones of its aggregate go on.
func TestACommandThatCrashesItsEngine(t *testing.T) {
	r := newRig(t, 1)
	r.prepare()
	crashes := r.enqueue("enqueue.agent.a1.set", "", `{"key":"k","value":1}`)
	for lane, n := r.lane(), 0; n < manyDeliveries; n++ {
		m, err := lane.Next(jetstream.FetchMaxWait(10 * time.Second))
		harness.Must(t, err)
		harness.Must(t, m.Nak())
	}
	later := r.enqueue("enqueue.agent.a1.set", "", `{"key":"k","value":2}`)
	e := r.start(nil)
	defer e.close()
	if o := r.outcome(e, crashes); o.Error == nil || o.Error.Code != "command.set_aside" {
		t.Errorf("outcome %+v", o)
	}
	if letter := r.awaitDeadLetters(1)[0]; letter.CommandID != crashes {
		t.Errorf("dead letter %+v", letter)
	}
	if o := r.outcome(e, later); o.Outcome != "accepted" || o.Version != 1 {
		t.Errorf("outcome of the later command: %+v", o)
	}
}

// TestDeliveriesOfARunningEngine: a command that was stored after the start has not crashed the
// engine, however often it was delivered: as while the server was away or the engine frozen.
func TestDeliveriesOfARunningEngine(t *testing.T) {
	r := newRig(t, 1)
	release := make(chan struct{})
	var attempts atomic.Int64
	e := r.start(func(send reactors.Send) reactors.Send {
		return func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
			select {
			case <-release:
				return send(ctx, req)
			default:
				attempts.Add(1)
				return commands.Receipt{}, errUnavailable
			}
		}
	})
	defer e.close()
	id := r.enqueue("enqueue.agent.a1.set", "", `{"key":"k","value":1}`)
	lane := r.lane()
	for n := 1; n <= manyDeliveries+1; n++ { // each is given back in the engine's name
		harness.Eventually(t, fmt.Sprint("delivery ", n), func() bool {
			info, err := lane.Info(t.Context())
			harness.Must(t, err)
			return info.Delivered.Consumer >= uint64(n)
		})
		d := lane.CachedInfo().Delivered
		subject := fmt.Sprintf("$JS.ACK.%s.%s.%d.%d.%d.%d.0", intake.CommandsStream, lane.CachedInfo().Name, n, d.Stream, d.Consumer, time.Now().UnixNano())
		harness.Must(t, r.client.Publish(subject, []byte("-NAK")))
	}
	tried := attempts.Load()
	harness.Eventually(t, "attempts after the last delivery", func() bool {
		return attempts.Load() > tried+1 || r.count(intake.DeadLettersStream) > 0
	})
	close(release)
	if o := r.outcome(e, id); o.Outcome != "accepted" || o.Version != 1 {
		t.Errorf("outcome %+v", o.Error)
	}
	if n := len(r.history(events.StateEntry("a1", "k"))); n != 1 {
		t.Errorf("%d events", n)
	}
}
