package feeds

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
)

// A feed's position is the last message on a subject of its own in the feed's
// own stream, so that it is lost with what it tells of and never without. It
// comes after the messages it covers have been acknowledged. The token $feeds
// can be no agent's or task's id.

// marker says how far a feed is.
type marker struct {
	Type      string `json:"type"` // feeds.position, for clients that read everything
	Journal   string `json:"journal"`
	Partition int    `json:"partition"`
	Position  uint64 `json:"position"`
	// Before is the sequence of the marker before it. That one is kept too: a
	// crash may take the newest messages of a stream that does not wait for the
	// disk.
	Before uint64 `json:"before,omitzero"`

	sequence uint64 // its own, in the stream
}

const (
	markerType = "feeds.position"
	// markerHeader carries "<incarnation> <p>=<position>" on markers.
	markerHeader = "Tidemark-Feeds-Position"
)

func (s *Streams) markerRoot(stream string) string {
	if stream == taskExecution {
		return s.Subjects.Root("tasks.created.$feeds.")
	}
	return s.Subjects.Root("agents.state.$feeds.")
}

// keepMarkers is the interest that an interest stream needs to keep markers;
// nobody ever pulls from it.
func (s *Streams) keepMarkers() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: "feeds-position", Description: "Keeps the position of the engine's feeds in this stream",
		FilterSubject: s.markerRoot(taskExecution) + ">", AckPolicy: jetstream.AckExplicitPolicy,
	}
}

// last is the newest marker of a partition. Fails with ErrForeignJournal when
// the feed was published from another journal.
func (f *feed) last(ctx context.Context, partition int) (m marker, found bool, err error) {
	msg, err := f.stream.GetLastMsgForSubject(ctx, f.subject+strconv.Itoa(partition))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	if err := json.Unmarshal(msg.Data, &m); err != nil || m.Type != markerType {
		return m, false, fmt.Errorf("%s in stream %s is no position of ours: %q", msg.Subject, f.name, msg.Data)
	}
	if m.Journal != f.journal.ID() {
		return m, false, fmt.Errorf("%w: the stream %s is fed by journal %s, this is journal %s",
			history.ErrForeignJournal, f.name, m.Journal, f.journal.ID())
	}
	m.sequence = msg.Sequence
	return m, true, nil
}

// mark notes that the feed is at to, and removes the marker before the last.
func (f *feed) mark(ctx context.Context, partition int, to uint64, last marker) (marker, error) {
	m := marker{Type: markerType, Journal: f.journal.ID(), Partition: partition, Position: to, Before: last.sequence}
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
		return m, fmt.Errorf("note the position in stream %s: %w", f.name, err)
	}
	m.sequence = ack.Sequence
	if last.Before == 0 {
		return m, nil
	}
	err = f.stream.DeleteMsg(ctx, last.Before)
	if err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) { // it is gone already
		return m, fmt.Errorf("remove an old position from stream %s: %w", f.name, err)
	}
	return m, nil
}
