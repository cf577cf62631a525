package feeds

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
)

// marker stores the position of a feed in a partition: it is the last message on
// a subject of the feed's own stream, so that the position is lost together with
// the messages and never without them. It is published after the messages that it
// covers are acknowledged. Its subject contains the token $feeds, which is not a
// valid agent or task id.
type marker struct {
	Type      string `json:"type"` // feeds.position, for clients that read all messages
	Journal   string `json:"journal"`
	Partition int    `json:"partition"`
	Position  uint64 `json:"position"`
	// Before is the sequence of the previous marker. The stream keeps that one
	// too: a stream that does not wait for the disk may lose its newest messages
	// in a crash.
	Before uint64 `json:"before,omitzero"`
	// Processor is when the consumer task-processor was created for which the
	// messages were published; zero in other streams, and where it is not known.
	Processor time.Time `json:"processor,omitzero"`

	sequence uint64 // of this marker in the stream
}

const (
	markerType = "feeds.position"
	// markerHeader carries "<incarnation> <p>=<position>" on markers.
	markerHeader = "Tidemark-Feeds-Position"
)

func (s *Streams) markerRoot(stream string) string {
	switch stream {
	case TaskExecution:
		return s.Subjects.Root("tasks.created.$feeds.")
	case AgentMessages:
		return s.Subjects.Root("messages.notification.$feeds.")
	}
	return s.Subjects.Root("agents.state.$feeds.")
}

// markerConsumer is a consumer without a reader: an interest stream keeps a
// message only while a consumer has not acknowledged it.
func (s *Streams) markerConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: "feeds-position", Description: "Keeps the position of the engine's feeds in this stream",
		FilterSubject: s.markerRoot(TaskExecution) + ">", AckPolicy: jetstream.AckExplicitPolicy,
	}
}

// lastMarker returns the newest marker of a partition. It fails with
// history.ErrForeignJournal if the feed was published from another journal.
func (f *feed) lastMarker(ctx context.Context, partition int) (m marker, found bool, err error) {
	msg, err := f.stream.GetLastMsgForSubject(ctx, f.subject+strconv.Itoa(partition))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	if err := json.Unmarshal(msg.Data, &m); err != nil || m.Type != markerType {
		return m, false, fmt.Errorf("%s in stream %s is not a position of a feed: %q", msg.Subject, f.name, msg.Data)
	}
	if m.Journal != f.journal.ID() {
		return m, false, fmt.Errorf("%w: the stream %s is published from journal %s, this is journal %s",
			history.ErrForeignJournal, f.name, m.Journal, f.journal.ID())
	}
	m.sequence = msg.Sequence
	return m, true, nil
}

// putMarker stores the position to, for the consumer of last, and removes the marker
// before last.
func (f *feed) putMarker(ctx context.Context, partition int, to uint64, last marker) (marker, error) {
	m := marker{Type: markerType, Journal: f.journal.ID(), Partition: partition, Position: to, Before: last.sequence, Processor: last.Processor}
	if m.Processor.IsZero() {
		f.mu.Lock()
		m.Processor = f.processor
		f.mu.Unlock()
	}
	body, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	ack, err := f.streams.JS.PublishMsg(ctx, &nats.Msg{
		Subject: f.subject + strconv.Itoa(partition), Data: body, Header: nats.Header{
			markerHeader: []string{m.Journal + " " + strconv.Itoa(partition) + "=" + strconv.FormatUint(to, 10)},
		},
	})
	if err != nil {
		return m, fmt.Errorf("store the position in stream %s: %w", f.name, err)
	}
	m.sequence = ack.Sequence
	if last.Before == 0 {
		return m, nil
	}
	err = f.stream.DeleteMsg(ctx, last.Before)
	if err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) { // already removed
		return m, fmt.Errorf("remove an old position from stream %s: %w", f.name, err)
	}
	return m, nil
}
