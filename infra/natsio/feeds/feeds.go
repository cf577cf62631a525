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

// Journal is what the feeds ask the journal.
type Journal interface {
	history.JournalStore
	// FirstSince is the revision before the first entry that was stored at or
	// after from.
	FirstSince(ctx context.Context, partition int, from time.Time) (uint64, error)
}

// Feeds is the target of the view feeds: every event, once, on the seed's
// subjects in the seed's streams. Nothing of ours ever reads them: losing one
// loses no state.
type Feeds struct {
	streams *Streams
	journal Journal

	mu    sync.Mutex
	feeds map[string]*feed
}

var _ projections.Target = (*Feeds)(nil)

// NewFeeds publishes a journal's events.
func New(s *Streams, j Journal) *Feeds {
	return &Feeds{streams: s, journal: j, feeds: map[string]*feed{}}
}

// open makes what is missing on the server.
func (t *Feeds) open(ctx context.Context) ([]*feed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*feed, 0, 2)
	if _, err := t.streams.Open(ctx, AgentMessages); err != nil {
		return nil, err // nothing is fed into it, but who listens may be first
	}
	for _, name := range []string{taskExecution, AgentState} {
		st, err := t.streams.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		if name == taskExecution {
			for _, cfg := range []jetstream.ConsumerConfig{t.streams.taskConsumer(), t.streams.keepMarkers()} {
				if _, err := t.streams.Consumer(ctx, st, cfg); err != nil {
					return nil, err
				}
			}
		}
		if t.feeds[name] == nil {
			t.feeds[name] = newFeed(t.streams, st, t.journal)
		}
		all = append(all, t.feeds[name])
	}
	return all, nil
}

// Load implements projections.Target: the view is where its furthest-back
// stream is. Each stream then leaves out what it has already.
func (t *Feeds) Load(ctx context.Context, partition int, _ string) (uint64, error) {
	feeds, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	var least uint64
	for i, f := range feeds {
		at, err := f.load(ctx, partition)
		if err != nil {
			return 0, err
		}
		if i == 0 || at < least {
			least = at
		}
	}
	return least, nil
}

// Apply implements projections.Target. Where from is to, events that were held
// back are published behind those that came after them; a crash in between may
// publish some of them twice.
func (t *Feeds) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	byStream := map[string][]*nats.Msg{}
	revisions := map[string][]uint64{}
	for _, rec := range c.Events {
		stream, subject, err := t.place(rec)
		if err != nil {
			return err
		}
		if stream == "" {
			continue
		}
		byStream[stream] = append(byStream[stream], t.message(subject, rec))
		revisions[stream] = append(revisions[stream], rec.Revision)
	}
	t.mu.Lock()
	tasks, agents := t.feeds[taskExecution], t.feeds[AgentState]
	t.mu.Unlock()
	for _, f := range []*feed{tasks, agents} {
		if from == to {
			if err := t.streams.send(ctx, byStream[f.name]); err != nil {
				return err
			}
			continue
		}
		if err := f.publish(ctx, partition, to, byStream[f.name], revisions[f.name]); err != nil {
			return err
		}
	}
	return nil
}

func (t *Feeds) message(subject string, rec *events.Record) *nats.Msg {
	return &nats.Msg{
		Subject: subject, Data: rec.Encode(), Header: nats.Header{
			nats.MsgIdHdr:         []string{t.messageID(rec)},
			natsio.RevisionHeader: []string{strconv.FormatUint(rec.Revision, 10)},
		},
	}
}

// messageID is the event's name: the same whichever engine publishes it.
func (t *Feeds) messageID(rec *events.Record) string {
	return t.journal.Incarnation() + "-" + strconv.Itoa(rec.Partition) + "-" + strconv.FormatUint(rec.Revision, 10)
}

// place is where an event goes (contract, section 3); empty = to no feed.
func (t *Feeds) place(rec *events.Record) (stream, subject string, err error) {
	root := t.streams.Subjects.Root
	_, verb, _ := strings.Cut(rec.Type, ".")
	switch rec.Type {
	case events.StateSet, events.StateDeleted:
		return AgentState, root("agents.state.") + rec.ID + "." + rec.Key, nil
	case events.TaskCreated, events.TaskCompleted, events.TaskCancelled:
		return taskExecution, root("tasks.") + verb + "." + rec.ID, nil
	case events.TaskStarted, events.TaskFailed:
		var d struct {
			AgentID string `json:"agent_id"`
			Reason  string `json:"reason"`
		}
		if err := json.Unmarshal(rec.Data, &d); err != nil || d.AgentID+d.Reason == "" {
			return "", "", fmt.Errorf("%w: %s does not say where in its feed it belongs (%v)", projections.ErrUnappliable, rec.Type, err)
		}
		return taskExecution, root("tasks.") + verb + "." + rec.ID + "." + d.AgentID + d.Reason, nil
	}
	if rec.Stream == events.Lifecycle(rec.ID) {
		return AgentState, root("agents.lifecycle.") + rec.ID + "." + verb, nil
	}
	return "", "", nil
}

// feed is one of the view's streams, with the position it keeps in itself.
type feed struct {
	name    string
	subject string // of its markers, with the last dot
	streams *Streams
	stream  jetstream.Stream
	journal Journal

	mu     sync.Mutex
	marked map[int]marker // by partition: what it was last known to have
}

func newFeed(s *Streams, st jetstream.Stream, j Journal) *feed {
	f := &feed{name: st.CachedInfo().Config.Name, streams: s, stream: st, journal: j, marked: map[int]marker{}}
	f.subject = s.markerRoot(f.name)
	return f
}

// load is the position a feed begins at after a start. A feed without a marker
// is as old as its stream keeps anything: what is older would be gone anyway.
func (f *feed) load(ctx context.Context, partition int) (uint64, error) {
	m, found, err := f.last(ctx, partition)
	if err != nil {
		return 0, err
	}
	if age := f.stream.CachedInfo().Config.MaxAge; !found && age > 0 {
		if m.Position, err = f.journal.FirstSince(ctx, partition, time.Now().Add(-age)); err != nil {
			return 0, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.marked[partition] = m
	return m.Position, nil
}

// publish sends what the stream does not have yet and then marks how far it is.
// It looks for a marker first, for another engine may have been here.
func (f *feed) publish(ctx context.Context, partition int, to uint64, msgs []*nats.Msg, revisions []uint64) error {
	f.mu.Lock()
	at := f.marked[partition]
	f.mu.Unlock()
	if len(msgs) == 0 && to < at.Position+natsio.MarkEvery {
		return nil
	}
	last, found, err := f.last(ctx, partition)
	if err != nil {
		return fmt.Errorf("look how far the feed %s is: %w", f.name, err)
	}
	if found && last.Position >= at.Position {
		at = last
	}
	for len(revisions) > 0 && revisions[0] <= at.Position {
		msgs, revisions = msgs[1:], revisions[1:]
	}
	if at.Position < to {
		if err := f.streams.send(ctx, msgs); err != nil {
			return err
		}
		if at, err = f.mark(ctx, partition, to, at); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.marked[partition] = at
	return nil
}
