package intake

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// delivery is one delivery of a message of COMMANDS.
type delivery struct {
	jetstream.Msg
	number uint64
	acked  chan uint64
}

func (d *delivery) Subject() string      { return "enqueue.unknown" }
func (d *delivery) Data() []byte         { return []byte("{}") }
func (d *delivery) Headers() nats.Header { return nil }
func (d *delivery) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Stream: CommandsStream, Sequence: jetstream.SequencePair{Stream: 7}, NumDelivered: d.number}, nil
}
func (d *delivery) Ack() error { d.acked <- d.number; return nil }

// TestDeliveredAgainWhileItIsExecuted: the later delivery is acknowledged.
func TestDeliveredAgainWhileItIsExecuted(t *testing.T) {
	t.Parallel()
	gate := newDrainGate()
	s := newCommandSubscriber(&Intake{cfg: Config{Backoff: time.Millisecond}}, gate, context.Background(), nil)
	topic := &commandTopic{out: make(chan *message.Message), slots: make(chan struct{}, laneSlots)}
	acked := make(chan uint64, 2)
	s.receive(topic, &delivery{number: 1, acked: acked})
	time.Sleep(10 * time.Millisecond) // its queue works on it
	s.receive(topic, &delivery{number: 2, acked: acked})
	harness.Receive(t, "the command", topic.out).Ack()
	if number := harness.Receive(t, "an acknowledgement", acked); number != 2 {
		t.Errorf("delivery %d is acknowledged", number)
	}
	gate.drain()
	harness.Must(t, s.Close())
}

// TestWatermillLogIsLimited: thousands of commands that wait do not fill the log.
func TestWatermillLogIsLimited(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := watermillLog(slog.New(slog.NewTextHandler(&out, nil)))
	for n := range 1000 {
		log.With(watermill.LogFields{"handler_name": "lane-0"}).Error("Handler returned error", errStopping, watermill.LogFields{"n": n})
	}
	if lines := strings.Count(out.String(), "\n"); lines < 10 || lines > 20 || !strings.Contains(out.String(), "n=0") {
		t.Errorf("%d lines, want the first ten\n%s", lines, out.String())
	}
}
