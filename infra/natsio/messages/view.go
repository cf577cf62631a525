package messages

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// MessageStore is where messages end up. Storing one again changes nothing.
type MessageStore interface {
	StoreMessages(ctx context.Context, batch []readmodel.Message) error
}

// Messages is the view messages: what is on AGENT_MESSAGES, stored a batch at a
// time by the seed's consumer message-batch-processor. Several engines share
// the consumer. Its place is the consumer's: messages are not state, and the
// stream keeps them in memory for five minutes alone, so that what cannot be
// stored for so long is lost.
type View struct {
	streams *feeds.Streams
	store   MessageStore

	mu       sync.Mutex
	consumer jetstream.Consumer
	status   projections.Status
}

// NewMessages stores messages from the seed's stream.
func NewView(s *feeds.Streams, store MessageStore) *View {
	return &View{streams: s, store: store, status: projections.Status{Name: "messages", State: projections.Starting}}
}

// Bounds of a batch (seed 6.3), and how long an empty pull waits.
const (
	messageBatch = 100
	messageBytes = 1 << 20
	messagePull  = 30 * time.Second
	// messageHold is how often a batch that cannot be stored yet is kept from
	// being delivered again; a fraction of the consumer's ack_wait.
	messageHold = 20 * time.Second
)

// Run stores messages until ctx ends; a batch under way is finished.
func (v *View) Run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, 2*time.Second
	for ctx.Err() == nil {
		err := v.follow(ctx, pause.Reset)
		if ctx.Err() != nil {
			return
		}
		v.waits(err)
		t := time.NewTimer(pause.NextBackOff())
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// follow pulls until something fails.
func (v *View) follow(ctx context.Context, well func()) error {
	st, err := v.streams.Open(ctx, feeds.AgentMessages)
	if err != nil {
		return err
	}
	c, err := v.streams.Consumer(ctx, st, v.streams.MessageConsumer())
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.consumer = c
	v.mu.Unlock()
	v.set(projections.Running, "")
	for {
		batch, err := pull(ctx, c)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			continue
		}
		if err := v.keep(ctx, batch); err != nil {
			return err
		}
		v.set(projections.Running, "")
		well()
	}
}

// pull waits for a message and takes with it what else is there.
func pull(ctx context.Context, c jetstream.Consumer) ([]jetstream.Msg, error) {
	pctx, cancel := context.WithTimeout(ctx, messagePull)
	defer cancel()
	first, err := c.Next(jetstream.FetchContext(pctx))
	if err != nil {
		// An empty pull ends in one of these.
		if ctx.Err() == nil && (errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded)) {
			return nil, nil
		}
		return nil, fmt.Errorf("pull from %s: %w", feeds.MessageProcessor, err)
	}
	batch := []jetstream.Msg{first}
	more, err := c.FetchNoWait(messageBatch - 1)
	if err != nil {
		return batch, nil // the first is here; the next pull will say what is wrong
	}
	for msg := range more.Messages() {
		batch = append(batch, msg)
	}
	return batch, nil
}

// keep stores a batch and acknowledges it after that. While the store is away
// the batch is held, so that waiting does not use up its deliveries.
func (v *View) keep(ctx context.Context, batch []jetstream.Msg) error {
	rows := v.decode(batch)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 2*time.Second
	for held := time.Now(); ; {
		err := v.storeAll(ctx, rows)
		if err == nil {
			break
		}
		v.waits(err)
		if time.Since(held) > messageHold {
			held = time.Now()
			for _, msg := range batch {
				_ = msg.InProgress() // at worst it comes again
			}
		}
		t := time.NewTimer(pause.NextBackOff())
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
	for _, msg := range batch {
		if err := msg.Ack(); err != nil {
			return fmt.Errorf("acknowledge to %s: %w", feeds.MessageProcessor, err)
		}
	}
	return nil
}

// storeAll stores rows in parts of at most a megabyte of bodies.
func (v *View) storeAll(ctx context.Context, rows []readmodel.Message) error {
	// A stop must not cut a transaction in two: it gets a time of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for len(rows) > 0 {
		n, bytes := 0, 0
		for n < len(rows) && (n == 0 || bytes+len(rows[n].Body) <= messageBytes) {
			bytes += len(rows[n].Body)
			n++
		}
		if err := v.store.StoreMessages(ctx, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// decode leaves out, and tells of, what is no message of ours.
func (v *View) decode(batch []jetstream.Msg) []readmodel.Message {
	rows := make([]readmodel.Message, 0, len(batch))
	for _, msg := range batch {
		m, err := decodeMessage(v.streams, msg)
		if err != nil {
			v.streams.Log.Warn("a message is not of the engine's form and is not stored", "subject", msg.Subject(), "error", err)
			continue
		}
		rows = append(rows, m)
	}
	return rows
}
