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

// A rebuild of the feeds publishes, in the journal's order, what the stream
// AGENT_STATE should still hold and does not. It comes at the stream's end, for
// a stream cannot be written anywhere else; nothing is removed. TASK_EXECUTION
// keeps what has not been consumed: what is not there any more may have been
// worked on, and must not come again.

// again ends the message id of what is published once more: within the
// duplicate window the server would take it for the first.
const again = "-again"

// Rebuild publishes what is missing.
func (t *Feeds) Rebuild(ctx context.Context, step func(rebuild.Step)) (*rebuild.Restored, error) {
	began := time.Now()
	done := &rebuild.Restored{View: "feeds", Keys: []rebuild.RowChange{}, Left: []rebuild.RowChange{}, Passes: 1}
	if _, err := t.open(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	f := t.feeds[AgentState]
	t.mu.Unlock()
	for p := range t.journal.Partitions() { // before the stream is read: the view goes on
		marker, _, err := f.last(ctx, p)
		if err != nil {
			return nil, err
		}
		done.Heads = append(done.Heads, marker.Position)
	}
	info, err := f.stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the stream %s: %w", f.name, err)
	}
	step(rebuild.Step{Name: "compare"})
	there, err := f.present(ctx, info.State.LastSeq)
	if err != nil {
		return nil, err
	}
	for p, to := range done.Heads {
		from, err := f.oldest(ctx, p, info, there)
		if err != nil {
			return nil, err
		}
		n, err := t.absent(ctx, p, from, to, there, func(msgs []*nats.Msg) error {
			step(rebuild.Step{Name: "publish", Of: uint64(len(msgs))})
			if err := t.streams.send(ctx, msgs); err != nil {
				return err
			}
			done.Rows += len(msgs)
			for _, m := range msgs[:min(len(msgs), 20-min(20, len(done.Keys)))] {
				done.Keys = append(done.Keys, rebuild.RowChange{Key: m.Subject,
					What: "revision " + m.Header.Get(natsio.RevisionHeader) + " was missing and is published at the end"})
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

// place of an event in its journal.
type journalPlace struct {
	partition int
	revision  uint64
}

// presentWait is after how long without a message it is asked whether any comes.
const presentWait = 2 * time.Second

// present are the events in the stream.
func (f *feed) present(ctx context.Context, last uint64) (map[journalPlace]bool, error) {
	there := map[journalPlace]bool{}
	if last == 0 {
		return there, nil
	}
	c, end, err := natsio.EphemeralConsumer(ctx, f.streams.JS, f.name, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read the stream %s: %w", f.name, err)
	}
	defer end()
	if ci, err := c.Info(ctx); err != nil || ci.NumPending == 0 {
		return there, err
	}
	it, err := c.Messages(natsio.IteratorOptions(f.streams.JS.Conn())...)
	if err != nil {
		return nil, fmt.Errorf("read the stream %s: %w", f.name, err)
	}
	defer it.Stop()
	for quiet := 0; ; {
		msg, err := it.Next(jetstream.NextMaxWait(presentWait))
		if errors.Is(err, nats.ErrTimeout) && ctx.Err() == nil { // the last messages may have expired meanwhile
			ci, err := c.Info(ctx)
			if quiet++; err != nil || quiet > 1 && ci.NumPending == 0 {
				return there, err
			}
			continue
		}
		quiet = 0
		if err = cmp.Or(ctx.Err(), err); err != nil {
			return nil, fmt.Errorf("read the stream %s: %w", f.name, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		parts := strings.Split(strings.TrimSuffix(msg.Headers().Get(nats.MsgIdHdr), again), "-")
		if len(parts) == 3 && parts[0] == f.journal.Incarnation() {
			p, perr := strconv.Atoi(parts[1])
			rev, rerr := strconv.ParseUint(parts[2], 10, 64)
			if perr == nil && rerr == nil {
				there[journalPlace{p, rev}] = true
			}
		}
		if meta.Sequence.Stream >= last || meta.NumPending == 0 {
			return there, nil
		}
	}
}

// oldest is the revision after which the stream should hold everything: by its
// age, and where it is full, what it has dropped for room is not missing.
func (f *feed) oldest(ctx context.Context, p int, info *jetstream.StreamInfo, there map[journalPlace]bool) (uint64, error) {
	from := uint64(0)
	cfg := info.Config
	if cfg.MaxAge > 0 {
		var err error // what is about to expire is not published for a moment
		if from, err = f.journal.FirstSince(ctx, p, time.Now().Add(time.Minute-cfg.MaxAge)); err != nil {
			return 0, err
		}
	}
	full := cfg.MaxMsgs > 0 && info.State.Msgs >= uint64(cfg.MaxMsgs) || cfg.MaxBytes > 0 && info.State.Bytes > uint64(cfg.MaxBytes)/20*19
	if !full {
		return from, nil
	}
	least := uint64(0)
	for place := range there {
		if place.partition == p && (least == 0 || place.revision < least) {
			least = place.revision
		}
	}
	return max(from, least), nil
}

// absentPage is how many messages are published at a time.
const absentPage = 1000

// absent yields the messages of a partition that are not there, in order, page
// by page, and returns how many events were looked at.
func (t *Feeds) absent(ctx context.Context, p int, from, to uint64, there map[journalPlace]bool, yield func([]*nats.Msg) error) (n uint64, err error) {
	var msgs []*nats.Msg
	err = t.journal.Range(ctx, history.Range{Partition: p, After: from, UpTo: to}, func(m history.Message) error {
		n++
		if m.Bad != nil || there[journalPlace{p, m.Revision}] {
			return nil
		}
		// What has no place is quarantined by the view, not missing.
		if stream, subject, err := t.place(&m.Record); err == nil && stream == AgentState {
			msg := t.message(subject, &m.Record)
			msg.Header.Set(nats.MsgIdHdr, t.messageID(&m.Record)+again)
			msgs = append(msgs, msg)
		}
		if len(msgs) < absentPage {
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

// Accept makes this the journal that the feeds are of: those of another begin
// with what they would keep of this one, those that are ahead go on at its end.
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
	last, _, err := f.last(ctx, p)
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
	_, err = f.mark(ctx, p, at, marker{})
	return err
}
