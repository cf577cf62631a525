package feeds

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections"
)

// Feeds is the target of the view feeds: it publishes every event once, on the
// subject of the wire contract. The engine never reads the streams, so the loss
// of a stream loses no state.
type Feeds struct {
	streams *Streams
	journal history.JournalStore
	names   []string // of the streams

	mu    sync.Mutex
	feeds map[string]*feed
}

var _ projections.Target = (*Feeds)(nil)

// New returns the feeds of a journal's events but messages.
func New(s *Streams, j history.JournalStore) *Feeds {
	return &Feeds{streams: s, journal: j, names: []string{TaskExecution, AgentState}, feeds: map[string]*feed{}}
}

// open opens the streams and the consumers, and creates the missing ones.
func (t *Feeds) open(ctx context.Context) ([]*feed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*feed, 0, len(t.names))
	for _, name := range t.names {
		st, err := t.streams.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		f := t.feeds[name]
		if f == nil || !f.created.Equal(st.CachedInfo().Created) {
			f = newFeed(t.streams, st, t.journal)
			t.feeds[name] = f
		}
		if err := t.ensureConsumers(ctx, st, f); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// Load implements projections.Target: the position is the lowest of the
// streams'. Apply then skips the events that a stream already has.
func (t *Feeds) Load(ctx context.Context, partition int, _ string) (uint64, error) {
	feeds, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	var lowest uint64
	for i, f := range feeds {
		at, err := f.load(ctx, partition)
		if err == nil && f.name == TaskExecution {
			err = t.publishStarted(ctx, f, partition)
		}
		if err != nil {
			return 0, err
		}
		if i == 0 || at < lowest {
			lowest = at
		}
	}
	return lowest, nil
}

// Apply implements projections.Target. If from equals to, c contains retried
// events of a quarantined aggregate: they are published after later events, and
// a crash may publish some of them twice.
func (t *Feeds) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	byStream := map[string][]*nats.Msg{}
	revisions := map[string][]uint64{}
	for _, rec := range c.Events {
		stream, subject, err := t.route(rec)
		if err != nil {
			return err
		}
		if stream == "" {
			continue
		}
		byStream[stream] = append(byStream[stream], t.message(subject, rec, rec.Published()))
		revisions[stream] = append(revisions[stream], rec.Revision)
	}
	for _, name := range t.names {
		if err := t.publish(ctx, name, partition, from, to, byStream[name], revisions[name]); err != nil {
			return err
		}
	}
	return nil
}

// publish sends the messages of a batch to a stream.
func (t *Feeds) publish(ctx context.Context, stream string, partition int, from, to uint64, msgs []*nats.Msg, revisions []uint64) error {
	if from == to {
		return t.streams.send(ctx, msgs)
	}
	t.mu.Lock()
	f := t.feeds[stream]
	t.mu.Unlock()
	return f.publish(ctx, partition, to, msgs, revisions)
}

func (t *Feeds) message(subject string, rec *events.Record, body []byte) *nats.Msg {
	return &nats.Msg{
		Subject: subject, Data: body, Header: nats.Header{
			nats.MsgIdHdr:         []string{t.messageID(rec)},
			natsio.RevisionHeader: []string{strconv.FormatUint(rec.Revision, 10)},
		},
	}
}

// messageID returns the deduplication id of an event, the same on every engine.
func (t *Feeds) messageID(rec *events.Record) string {
	return t.journal.Incarnation() + "-" + strconv.Itoa(rec.Partition) + "-" + strconv.FormatUint(rec.Revision, 10)
}

// route returns the stream and the subject of an event (wire contract, section
// 3); an empty stream means that no feed publishes it.
func (t *Feeds) route(rec *events.Record) (stream, subject string, err error) {
	root := t.streams.Subjects.Root
	_, verb, _ := strings.Cut(rec.Type, ".")
	switch rec.Type {
	case events.StateSet, events.StateDeleted:
		return AgentState, root("agents.state.") + rec.ID + "." + rec.Key, nil
	case events.TaskCreated, events.TaskCompleted, events.TaskCancelled:
		return TaskExecution, root("tasks.") + verb + "." + rec.ID, nil
	case events.TaskRetried:
		return TaskExecution, root("tasks.created.") + rec.ID, nil
	case events.TaskLeaseExpired:
		var t struct {
			Status string `json:"status"`
			Reason string `json:"reason"`
		}
		if err := json.Unmarshal(rec.State, &t); err != nil {
			return "", "", projections.Unappliable(fmt.Errorf("the state of %s: %w", rec.Type, err))
		}
		if t.Status == "created" {
			return TaskExecution, root("tasks.created.") + rec.ID, nil
		}
		return TaskExecution, root("tasks.failed.") + rec.ID + "." + t.Reason, nil
	case events.TaskStarted, events.TaskFailed:
		var d struct {
			AgentID string `json:"agent_id"`
			Reason  string `json:"reason"`
		}
		from := rec.Data
		if rec.Erased { // the outline has them too
			from = rec.State
		}
		if err := json.Unmarshal(from, &d); err != nil || d.AgentID+d.Reason == "" {
			return "", "", projections.Unappliable(fmt.Errorf("%s needs agent_id or reason in its data for its feed subject (%v)", rec.Type, err))
		}
		last := d.AgentID
		if rec.Type == events.TaskFailed {
			last = d.Reason
		}
		return TaskExecution, root("tasks.") + verb + "." + rec.ID + "." + last, nil
	}
	if rec.Name == events.Lifecycle(rec.ID) {
		return AgentState, root("agents.lifecycle.") + rec.ID + "." + verb, nil
	}
	return "", "", nil
}

// feed is one of the view's streams. The stream stores its own position.
type feed struct {
	name    string
	subject string // of its markers, up to and with the last dot
	streams *Streams
	stream  jetstream.Stream
	created time.Time // of the stream
	journal history.JournalStore

	mu        sync.Mutex
	markers   map[int]marker // by partition: the last known marker
	processor time.Time      // when task-processor was created; zero = not a feed of tasks
	missing   time.Time      // since when task-processor is missing; zero = it is not
}

func newFeed(s *Streams, st jetstream.Stream, j history.JournalStore) *feed {
	info := st.CachedInfo()
	f := &feed{name: info.Config.Name, created: info.Created, streams: s, stream: st, journal: j, markers: map[int]marker{}}
	f.subject = s.markerRoot(f.name)
	return f
}

// load returns the position from which a feed continues after a start. Without a
// marker, it is the journal's position at the stream's maximum age, because
// older messages would have expired.
func (f *feed) load(ctx context.Context, partition int) (uint64, error) {
	m, found, err := f.lastMarker(ctx, partition)
	if err != nil {
		return 0, err
	}
	if age := f.stream.CachedInfo().Config.MaxAge; !found && age > 0 {
		if m.Position, err = f.journal.FirstSince(ctx, partition, time.Now().Add(-age)); err != nil {
			return 0, err
		}
	}
	f.remember(partition, m)
	return m.Position, nil
}

// publish sends the messages that the stream does not have and then stores the
// position. It reads the marker first, because another engine may have published.
func (f *feed) publish(ctx context.Context, partition int, to uint64, msgs []*nats.Msg, revisions []uint64) error {
	f.mu.Lock()
	at := f.markers[partition]
	f.mu.Unlock()
	if len(msgs) == 0 && to < at.Position+natsio.PositionInterval {
		return nil
	}
	last, found, err := f.lastMarker(ctx, partition)
	if err != nil {
		return fmt.Errorf("read the position of the feed %s: %w", f.name, err)
	}
	if found && last.Position >= at.Position {
		at = last
	}
	for len(revisions) > 0 && revisions[0] <= at.Position {
		msgs, revisions = msgs[1:], revisions[1:]
	}
	if at.Position < to {
		// gofail: var feedSend struct{}
		// return context.DeadlineExceeded
		if err := f.streams.send(ctx, msgs); err != nil {
			return err
		}
		// gofail: var feedSent struct{}
		// return context.DeadlineExceeded
		if at, err = f.putMarker(ctx, partition, to, at); err != nil {
			return err
		}
	}
	f.remember(partition, at)
	return nil
}
