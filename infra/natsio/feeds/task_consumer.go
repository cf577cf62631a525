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

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
)

// An interest stream keeps a message for the consumers that it has: where
// task-processor was removed, the tasks that waited for a worker are gone, and those
// that were started before it is made again are never stored. Therefore each marker
// says for which consumer the messages up to it were published.

var _ projections.Checker = (*Feeds)(nil)

// errAnotherConsumer makes the runner load the position again, which publishes the
// tasks that wait.
var errAnotherConsumer = errors.New("the consumer " + taskProcessor + " was removed and is made again; the tasks that are started are published again")

// topologyTime is how long task-processor may be missing before Check makes it again: it is
// in the topology document, which may give it other settings.
const topologyTime = 10 * time.Second

// Check implements projections.Checker: it makes the consumers of TASK_EXECUTION again,
// and the position that was lost with one of them.
func (t *Feeds) Check(ctx context.Context, partition int) error {
	t.mu.Lock()
	f := t.feeds[TaskExecution]
	t.mu.Unlock()
	if f == nil {
		return nil
	}
	st, err := t.streams.JS.Stream(ctx, TaskExecution)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // it is made again elsewhere, and then the view loads its position
	}
	if err != nil {
		return fmt.Errorf("read the state of stream %s: %w", TaskExecution, err)
	}
	if !f.created.Equal(st.CachedInfo().Created) {
		return fmt.Errorf("the stream %s was removed and is made again", TaskExecution)
	}
	if _, err := t.streams.ensureConsumer(ctx, st, t.streams.markerConsumer()); err != nil {
		return err
	}
	if wait, err := f.awaitsTopology(ctx, st); wait || err != nil {
		return err
	}
	if err := t.ensureConsumers(ctx, st, f); err != nil {
		return err
	}
	f.mu.Lock()
	known, processor := f.markers[partition], f.processor
	f.mu.Unlock()
	if known.sequence == 0 {
		return nil
	}
	last, found, err := f.lastMarker(ctx, partition)
	if err == nil && !found { // lost with the consumer that kept it
		known.sequence, known.Before = 0, 0
		if last, err = f.putMarker(ctx, partition, known.Position, known); err == nil {
			f.remember(partition, last)
		}
	}
	if err == nil && !last.Processor.IsZero() && !last.Processor.Equal(processor) {
		err = errAnotherConsumer
	}
	return err
}

// awaitsTopology reports whether task-processor is missing and may be made again from the
// topology document.
func (f *feed) awaitsTopology(ctx context.Context, st jetstream.Stream) (bool, error) {
	_, err := st.Consumer(ctx, taskProcessor)
	missing := errors.Is(err, jetstream.ErrConsumerNotFound)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !missing:
		f.missing = time.Time{}
		return false, err
	case f.missing.IsZero():
		f.missing = time.Now()
	}
	return time.Since(f.missing) < topologyTime, nil
}

// ensureConsumers creates the consumers of a feed that are missing.
func (t *Feeds) ensureConsumers(ctx context.Context, st jetstream.Stream, f *feed) error {
	consumers := map[string][]jetstream.ConsumerConfig{
		TaskExecution: {t.streams.taskConsumer(), t.streams.markerConsumer()},
		AgentMessages: {t.streams.messageConsumer()},
	}
	for _, cfg := range consumers[f.name] {
		created, err := t.streams.ensureConsumer(ctx, st, cfg)
		if err != nil {
			return err
		}
		if cfg.Durable == taskProcessor {
			f.mu.Lock()
			f.processor = created
			f.mu.Unlock()
		}
	}
	return nil
}

// publishStarted publishes the tasks again that are started, if the feed was published
// for another consumer. A worker may get a task twice, as after every lost
// acknowledgement.
func (t *Feeds) publishStarted(ctx context.Context, f *feed, partition int) error {
	f.mu.Lock()
	last, processor := f.markers[partition], f.processor
	f.mu.Unlock()
	if last.sequence == 0 || last.Processor.IsZero() || last.Processor.Equal(processor) {
		return nil
	}
	names, err := t.startedTasks(ctx, partition)
	if err != nil {
		return err
	}
	suffix := "-" + strconv.FormatInt(processor.UnixNano(), 10) // else the server drops them as duplicates
	for len(names) > 0 {
		n := min(len(names), publishPage)
		var msgs []*nats.Msg
		for _, name := range names[:n] {
			msg, err := t.started(ctx, partition, name, last.Position, suffix)
			if err != nil {
				return err
			}
			if msg != nil {
				msgs = append(msgs, msg)
			}
		}
		if err := t.streams.send(ctx, msgs); err != nil {
			return err
		}
		names = names[n:]
	}
	t.streams.Log.Warn("the consumer task-processor was removed; started tasks are published again", "partition", partition)
	last.Processor = processor
	m, err := f.putMarker(ctx, partition, last.Position, last)
	if err == nil {
		f.remember(partition, m)
	}
	return err
}

// startedTasks are the tasks of a partition that are started.
func (t *Feeds) startedTasks(ctx context.Context, partition int) (names []events.AggregateName, err error) {
	err = t.journal.Range(ctx, history.Range{Partition: partition, Aggregate: events.Task("*"), LastOnly: true}, func(m history.Message) error {
		var task struct {
			Status string `json:"status"`
		}
		if m.Bad == nil && json.Unmarshal(m.State, &task) == nil && task.Status == "started" {
			names = append(names, m.Name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the started tasks: %w", err)
	}
	return names, nil
}

// started is the message of a task's last start up to a revision; nil = the journal has
// none.
func (t *Feeds) started(ctx context.Context, partition int, name events.AggregateName, upTo uint64, suffix string) (msg *nats.Msg, err error) {
	err = t.journal.Range(ctx, history.Range{Partition: partition, Aggregate: name, UpTo: upTo}, func(m history.Message) error {
		if m.Bad != nil || m.Type != events.TaskStarted {
			return nil
		}
		stream, subject, err := t.route(&m.Record)
		if err != nil || stream != TaskExecution {
			return nil // the view has quarantined it
		}
		msg = t.message(subject, &m.Record, m.Record.Published())
		msg.Header.Set(nats.MsgIdHdr, t.messageID(&m.Record)+suffix)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return msg, nil
}

// remember keeps the last marker of a partition.
func (f *feed) remember(partition int, m marker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.markers[partition] = m
}
