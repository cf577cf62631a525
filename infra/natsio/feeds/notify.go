package feeds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// Notifier publishes what the durable view has committed on
// agents.state.<agent>, in the stream AGENT_STATE (seed 6.4). The message id is
// the revision's, so that a repetition inside the duplicate window is dropped;
// beyond it, who listens tells it by its revision.
type Notifier struct {
	// Held is what the view leaves out, as it is stored: what is told again, from
	// the journal, leaves it out too, and without an answer nothing is told
	// again; nil = nothing is left out.
	Held func(ctx context.Context, partition int) ([]quarantine.Held, error)

	streams *Streams
	past    journal.Past
}

var _ projections.Notifier = (*Notifier)(nil)

// NewNotifier tells of a view of this journal.
func NewNotifier(s *Streams, p journal.Past) *Notifier { return &Notifier{streams: s, past: p} }

// Notify implements projections.Notifier.
func (n *Notifier) Notify(ctx context.Context, partition int, from uint64, notices []projections.Notice) error {
	err := n.notify(ctx, partition, from, notices)
	if err != nil {
		n.streams.Log.Warn("changes in SQL could not be told; they are told again", "partition", partition, "after", from, "error", err)
	}
	return err
}

func (n *Notifier) notify(ctx context.Context, partition int, from uint64, notices []projections.Notice) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+time.Duration(projections.SizeOf(notices)>>20)*time.Second)
	defer cancel()
	if err := n.past.Before(ctx, from, notices); err != nil {
		return err
	}
	msgs := make([]*nats.Msg, 0, len(notices))
	for i := range notices {
		c := &notices[i]
		if c.Deleted && c.Old == nil {
			continue // it came and went between two looks
		}
		msgs = append(msgs, n.message(partition, c))
	}
	err := n.streams.send(ctx, msgs)
	if natsio.Missing(err) {
		if _, err = n.streams.Open(ctx, AgentState); err == nil {
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
	return &nats.Msg{Subject: n.streams.Subjects.Root("agents.state.") + c.Agent, Data: b, Header: nats.Header{
		nats.MsgIdHdr:         []string{"sql-" + n.past.Incarnation() + "-" + strconv.Itoa(partition) + "-" + revision},
		natsio.RevisionHeader: []string{revision},
	}}
}

func appendValue(b, value []byte) []byte {
	if value == nil {
		return append(b, "null"...)
	}
	return append(b, value...)
}

// Again folds at most so many events, and stops reading at so many bytes of them.
const (
	againBatch = 1000
	againBytes = 8 << 20
	// heldTime bounds the asking for what is left out.
	heldTime = time.Minute
)

// Again implements projections.Notifier: the journal knows what was there
// before and after.
func (n *Notifier) Again(ctx context.Context, partition int, from, to uint64) (uint64, error) {
	told, err := n.tryAgain(ctx, partition, from, to)
	if err != nil && (told == from || !errors.Is(err, context.DeadlineExceeded)) {
		n.streams.Log.Warn("changes in SQL could not be told again", "partition", partition, "after", told, "error", err)
	}
	return told, err
}

func (n *Notifier) tryAgain(ctx context.Context, partition int, from, to uint64) (told uint64, err error) {
	held, err := n.held(ctx, partition) // whatever has been held up to to is among it
	if err != nil {
		return from, fmt.Errorf("read what the view leaves out: %w", err)
	}
	cur, err := n.past.Read(ctx, partition, from)
	if err != nil {
		return from, err
	}
	defer cur.Stop()
	return n.again(ctx, cur, held, partition, from, to)
}

// held is what the view leaves out of this journal, by stream.
func (n *Notifier) held(ctx context.Context, partition int) (map[events.Stream][]quarantine.Held, error) {
	if n.Held == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, heldTime)
	defer cancel()
	all, err := n.Held(ctx, partition)
	held := map[events.Stream][]quarantine.Held{}
	for _, h := range all {
		if h.Journal == n.past.ID() && h.Level == 0 {
			held[h.Stream] = append(held[h.Stream], h)
		}
	}
	return held, err
}

func (n *Notifier) again(
	ctx context.Context, cur history.Cursor, held map[events.Stream][]quarantine.Held, partition int, from, to uint64,
) (told uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var batch []history.Message
	size := 0
	for at := from; at < to; {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return from, fmt.Errorf("the journal's reader ended: %w", cur.Err())
			}
			at = m.Revision
			if at <= to {
				batch = append(batch, m)
				size += len(m.Body)
			}
		case <-ctx.Done():
			return from, ctx.Err()
		}
		if at < to && len(batch) < againBatch && size < againBytes {
			continue
		}
		if err := n.notify(ctx, partition, from, noticesOf(batch, held)); err != nil {
			return from, err
		}
		from, batch, size = min(at, to), nil, 0
	}
	return from, nil
}

// noticesOf are the notices of a piece of the journal, without what is held.
// What was there before is known of those that begin in it: nothing.
func noticesOf(batch []history.Message, held map[events.Stream][]quarantine.Held) []projections.Notice {
	batch = slices.DeleteFunc(batch, func(m history.Message) bool {
		return slices.ContainsFunc(held[m.Stream], func(h quarantine.Held) bool { return h.LeavesOut(m.Revision) })
	})
	c := projections.Fold(batch) // marks what cannot be folded
	begun := map[events.Stream]bool{}
	for i := range batch {
		if batch[i].Bad == nil && batch[i].Version == 1 {
			begun[batch[i].Stream] = true
		}
	}
	notices := make([]projections.Notice, 0, len(c.Entries))
	for i := range c.Entries {
		e := &c.Entries[i]
		s := events.StateEntry(e.Agent, e.Key)
		notices = append(notices, projections.Notice{EntryChange: *e, Known: begun[s]})
	}
	return notices
}
