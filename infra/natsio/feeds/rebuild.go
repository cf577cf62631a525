package feeds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

// repeatSuffix ends the message id of an event that a rebuild publishes again:
// without it, the server would drop the message as a duplicate.
const repeatSuffix = "-again"

// Rebuild publishes, in the journal's order, the events that the stream
// AGENT_STATE should still have and has not. They are appended at the stream's
// end, and nothing is removed. Rebuild does not publish tasks again:
// TASK_EXECUTION keeps only messages that are not consumed, so a missing task may
// be done.
func (t *Feeds) Rebuild(ctx context.Context, step func(rebuild.Step)) (*rebuild.ResetReport, error) {
	began := time.Now()
	done := &rebuild.ResetReport{View: "feeds", Keys: []rebuild.RowChange{}, Left: []rebuild.RowChange{}, Passes: 1}
	if _, err := t.open(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	f := t.feeds[AgentState]
	t.mu.Unlock()
	for p := range t.journal.Partitions() { // before the stream is read, because the view continues
		marker, _, err := f.lastMarker(ctx, p)
		if err != nil {
			return nil, err
		}
		done.Heads = append(done.Heads, marker.Position)
	}
	info, err := f.stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the state of stream %s: %w", f.name, err)
	}
	step(rebuild.Step{Name: "compare"})
	stored, err := f.storedEvents(ctx, info.State.LastSeq)
	if err != nil {
		return nil, err
	}
	for p, to := range done.Heads {
		from, err := f.retainedAfter(ctx, p, info, stored)
		if err != nil {
			return nil, err
		}
		n, err := t.missing(ctx, p, from, to, stored, func(msgs []*nats.Msg) error {
			step(rebuild.Step{Name: "publish", Of: uint64(len(msgs))})
			if err := t.streams.send(ctx, msgs); err != nil {
				return err
			}
			done.Rows += len(msgs)
			for _, m := range msgs[:min(len(msgs), 20-min(20, len(done.Keys)))] {
				done.Keys = append(done.Keys, rebuild.RowChange{Key: m.Subject,
					What: "revision " + m.Header.Get(natsio.RevisionHeader) + " was missing and is published at the end of the stream"})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		done.Events += n
	}
	done.Seconds = time.Since(began).Seconds()
	return done, nil
}

// eventID identifies an event in its journal.
type eventID struct {
	partition int
	revision  uint64
}

// idleTimeout is the time without a message after which storedEvents checks
// whether more messages are pending.
const idleTimeout = 2 * time.Second

// storedEvents returns the events in the stream up to the sequence last.
func (f *feed) storedEvents(ctx context.Context, last uint64) (map[eventID]bool, error) {
	stored := map[eventID]bool{}
	if last == 0 {
		return stored, nil
	}
	c, end, err := natsio.EphemeralConsumer(ctx, f.streams.JS, f.name, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read the stream %s: %w", f.name, err)
	}
	defer end()
	if ci, err := c.Info(ctx); err != nil || ci.NumPending == 0 {
		return stored, err
	}
	it, err := c.Messages(natsio.IteratorOptions(f.streams.JS.Conn())...)
	if err != nil {
		return nil, fmt.Errorf("read the stream %s: %w", f.name, err)
	}
	defer it.Stop()
	for timeouts := 0; ; {
		msg, err := it.Next(jetstream.NextMaxWait(idleTimeout))
		if errors.Is(err, nats.ErrTimeout) && ctx.Err() == nil { // the last messages may have expired
			ci, err := c.Info(ctx)
			if timeouts++; err != nil || timeouts > 1 && ci.NumPending == 0 {
				return stored, err
			}
			continue
		}
		timeouts = 0
		if err = cmp.Or(ctx.Err(), err); err != nil {
			return nil, fmt.Errorf("read the stream %s: %w", f.name, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		parts := strings.Split(strings.TrimSuffix(msg.Headers().Get(nats.MsgIdHdr), repeatSuffix), "-")
		if len(parts) == 3 && parts[0] == f.journal.Incarnation() {
			p, perr := strconv.Atoi(parts[1])
			rev, rerr := strconv.ParseUint(parts[2], 10, 64)
			if perr == nil && rerr == nil {
				stored[eventID{p, rev}] = true
			}
		}
		if meta.Sequence.Stream >= last || meta.NumPending == 0 {
			return stored, nil
		}
	}
}

// retainedAfter returns the revision after which the stream should have every
// event: by its maximum age, and in a full stream by its oldest event, because
// older ones are dropped for space.
func (f *feed) retainedAfter(ctx context.Context, p int, info *jetstream.StreamInfo, stored map[eventID]bool) (uint64, error) {
	from := uint64(0)
	cfg := info.Config
	if cfg.MaxAge > 0 {
		var err error // events that expire within a minute are not published
		if from, err = f.journal.FirstSince(ctx, p, time.Now().Add(time.Minute-cfg.MaxAge)); err != nil {
			return 0, err
		}
	}
	full := cfg.MaxMsgs > 0 && info.State.Msgs >= uint64(cfg.MaxMsgs) || cfg.MaxBytes > 0 && info.State.Bytes > uint64(cfg.MaxBytes)/20*19
	if !full {
		return from, nil
	}
	oldest := uint64(0)
	for id := range stored {
		if id.partition == p && (oldest == 0 || id.revision < oldest) {
			oldest = id.revision
		}
	}
	return max(from, oldest), nil
}

// publishPage is the number of messages that a rebuild publishes at a time.
const publishPage = 1000

// missing yields the messages of a partition that are not stored, in order, page
// by page, and returns the number of compared events.
func (t *Feeds) missing(ctx context.Context, p int, from, to uint64, stored map[eventID]bool, yield func([]*nats.Msg) error) (n uint64, err error) {
	var msgs []*nats.Msg
	err = t.journal.Range(ctx, history.Range{Partition: p, After: from, UpTo: to}, func(m history.Message) error {
		n++
		if m.Bad != nil || stored[eventID{p, m.Revision}] {
			return nil
		}
		// An event without a subject is quarantined by the view, not missing.
		if stream, subject, err := t.route(&m.Record); err == nil && stream == AgentState {
			msg := t.message(subject, &m.Record, m.Record.Published())
			msg.Header.Set(nats.MsgIdHdr, t.messageID(&m.Record)+repeatSuffix)
			msgs = append(msgs, msg)
		}
		if len(msgs) < publishPage {
			return nil
		}
		page := msgs
		msgs = nil
		return yield(page)
	})
	if err == nil && len(msgs) > 0 {
		err = yield(msgs)
	}
	return n, err
}

// Accept makes this journal the one that the feeds publish. A feed of another
// journal continues with the events that are not older than the stream's maximum
// age; a feed whose position is after the journal's head continues at the head.
func (t *Feeds) Accept(ctx context.Context) error {
	feeds, err := t.open(ctx)
	if err != nil {
		return err
	}
	for _, f := range feeds {
		for p := range t.journal.Partitions() {
			if err := f.accept(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *feed) accept(ctx context.Context, p int) error {
	last, _, err := f.lastMarker(ctx, p)
	foreign := errors.Is(err, history.ErrForeignJournal)
	if err != nil && !foreign {
		return err
	}
	at, err := f.journal.Head(ctx, p)
	if err != nil || !foreign && last.Position <= at {
		return err
	}
	if age := f.stream.CachedInfo().Config.MaxAge; foreign && age > 0 {
		if at, err = f.journal.FirstSince(ctx, p, time.Now().Add(-age)); err != nil {
			return err
		}
	}
	_, err = f.putMarker(ctx, p, at, marker{})
	return err
}
