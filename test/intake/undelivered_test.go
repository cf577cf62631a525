package intake_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestUndelivered: a task that a consumer of the feed has delivered for the last
// time without an ack is a dead letter, also where no engine runs then, and its retry gives
// it to the workers again.
func TestUndelivered(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	e := r.start(nil)
	defer func() { e.close() }()
	_, err := r.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "TASK_EXECUTION", Subjects: []string{"tasks.>"}})
	harness.Must(t, err)
	c, err := r.js.CreateConsumer(t.Context(), "TASK_EXECUTION", jetstream.ConsumerConfig{
		Durable: "task-processor", FilterSubject: "tasks.started.>", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 100 * time.Millisecond, MaxDeliver: 2,
	})
	harness.Must(t, err)
	const subject = "tasks.started.t1.a1"
	_, err = r.js.Publish(t.Context(), subject, []byte(`{"task":1}`))
	harness.Must(t, err)
	deliveries := 0
	next := func() bool {
		msg, err := c.Next(jetstream.FetchMaxWait(200 * time.Millisecond))
		if err == nil {
			deliveries++
			return msg.Subject() == subject
		}
		if !errors.Is(err, jetstream.ErrNoMessages) && !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			t.Logf("next: %v", err)
		}
		return false
	}
	harness.Eventually(t, "the dead letter", func() bool {
		next()
		counts, err := e.DeadLetterCounts(t.Context())
		return err == nil && counts["consumer.TASK_EXECUTION.task-processor"] == 1
	})
	l := r.awaitDeadLetters(1)[0]
	if deliveries != 2 || l.Subject != subject || l.Source != "consumer.TASK_EXECUTION.task-processor" || string(l.Body) != `{"task":1}` || l.Stream != "TASK_EXECUTION" {
		t.Errorf("after %d deliveries: %+v", deliveries, l)
	}
	harness.Must(t, r.deadLetters().Retry(t.Context(), &l))
	harness.Eventually(t, "the task again", next)

	e.close()
	harness.Eventually(t, "the last delivery, while no engine runs", func() bool {
		next()
		info, err := c.Info(t.Context())
		return err == nil && info.NumAckPending == 0
	})
	e = r.start(nil)
	if l := r.awaitDeadLetters(1)[0]; l.Subject != subject || string(l.Body) != `{"task":1}` {
		t.Errorf("after a start: %+v", l)
	}
	harness.Must(t, r.js.DeleteConsumer(t.Context(), intake.UndeliveredStream, "dead-letters"))
	_, err = r.js.Publish(t.Context(), "tasks.started.t2.a1", []byte(`{"task":2}`))
	harness.Must(t, err)
	harness.Eventually(t, "the dead letter of an engine that has lost its consumer", func() bool {
		next()
		_, _, err := e.Check(t.Context())
		counts, countErr := e.DeadLetterCounts(t.Context())
		return err == nil && countErr == nil && counts["consumer.TASK_EXECUTION.task-processor"] == 2
	})
}
