package natsio

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections"
)

// Notifier publishes what the durable view has committed on
// agents.state.<agent>, in the stream AGENT_STATE (seed 6.4). The message id is
// the revision's, so that a repetition inside the duplicate window is dropped;
// beyond it, who listens tells it by its revision.
type Notifier struct {
	streams *Streams
	past    Past
}

var _ projections.Notifier = (*Notifier)(nil)

// NewNotifier tells of a view of this journal.
func NewNotifier(s *Streams, p Past) *Notifier { return &Notifier{streams: s, past: p} }

// Notify implements projections.Notifier.
func (n *Notifier) Notify(ctx context.Context, partition int, from uint64, notices []projections.Notice) error {
	err := n.notify(ctx, partition, from, notices)
	if err != nil {
		n.streams.log.Warn("changes in SQL could not be told; they are told with the next ones", "partition", partition, "after", from, "error", err)
	}
	return err
}

func (n *Notifier) notify(ctx context.Context, partition int, from uint64, notices []projections.Notice) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	msgs := make([]*nats.Msg, 0, len(notices))
	for i := range notices {
		c := &notices[i]
		if !c.Known {
			old, found, err := n.past.AsOf(ctx, c.Agent, c.Key, from, time.Time{})
			if err != nil {
				return err
			}
			if found {
				c.Old = old.Value
			}
		}
		if c.Deleted && c.Old == nil {
			continue // it came and went between two looks
		}
		msgs = append(msgs, n.message(partition, c))
	}
	err := n.streams.send(ctx, msgs)
	if missing(err) {
		if _, err = n.streams.open(ctx, agentState); err == nil {
			err = n.streams.send(ctx, msgs)
		}
	}
	return err
}

func (n *Notifier) message(partition int, c *projections.Notice) *nats.Msg {
	operation, value := "UPDATE", c.Value
	switch {
	case c.Deleted:
		operation, value = "DELETE", nil
	case c.Old == nil:
		operation = "INSERT"
	}
	revision := strconv.FormatUint(c.Revision, 10)
	b := append(make([]byte, 0, 192+len(c.Old)+len(value)), '{')
	b = append(events.AppendString(b, "operation", operation), ',')
	b = append(events.AppendString(b, "agent_id", c.Agent), ',')
	b = append(events.AppendString(b, "state_key", c.Key), `,"old_value":`...)
	b = append(appendValue(b, c.Old), `,"new_value":`...)
	b = append(appendValue(b, value), ',')
	b = append(events.AppendTime(b, "timestamp", c.Timestamp), `,"revision":`...)
	b = append(append(b, revision...), '}')
	return &nats.Msg{Subject: n.streams.subjects.Root("agents.state.") + c.Agent, Data: b, Header: nats.Header{
		nats.MsgIdHdr:  []string{"sql-" + n.past.Incarnation() + "-" + strconv.Itoa(partition) + "-" + revision},
		revisionHeader: []string{revision},
	}}
}

func appendValue(b, value []byte) []byte {
	if value == nil {
		return append(b, "null"...)
	}
	return append(b, value...)
}

// againBatch is how many events Again folds at a time.
const againBatch = 1000

// Again implements projections.Notifier: the journal knows what was there
// before and after.
func (n *Notifier) Again(ctx context.Context, partition int, from, to uint64) error {
	cur, err := n.past.Read(ctx, partition, from)
	if err == nil {
		defer cur.Stop()
		err = n.again(ctx, cur, partition, from, to)
	}
	if err != nil {
		n.streams.log.Warn("changes in SQL could not be told again", "partition", partition, "after", from, "error", err)
	}
	return err
}

func (n *Notifier) again(ctx context.Context, cur projections.Cursor, partition int, from, to uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var batch []projections.Message
	for at := from; at < to; {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return fmt.Errorf("the journal's reader ended: %w", cur.Err())
			}
			at = m.Revision
			if at <= to {
				batch = append(batch, m)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if at < to && len(batch) < againBatch {
			continue
		}
		c := projections.Fold(batch)
		notices := make([]projections.Notice, len(c.Entries))
		for i := range c.Entries {
			notices[i].EntryChange = c.Entries[i]
		}
		if err := n.notify(ctx, partition, from, notices); err != nil {
			return err
		}
		from, batch = at, nil
	}
	return nil
}
