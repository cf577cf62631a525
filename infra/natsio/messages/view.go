// Package messages publishes messages between agents and stores the messages of the
// stream AGENT_MESSAGES in the durable read model. The package feeds creates the stream
// and its consumer.
package messages

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// MessageStore stores messages in SQL. Storing a message again changes nothing.
type MessageStore interface {
	StoreMessages(ctx context.Context, batch []readmodel.Message) error
}

// View is the view messages: it stores the messages of AGENT_MESSAGES in batches.
// All engines share the consumer message-batch-processor, and the consumer's
// position is the view's. Messages are not state: the stream keeps them in memory
// for five minutes, and a message that cannot be stored within that time is lost.
type View struct {
	streams *feeds.Streams
	store   MessageStore

	stored atomic.Uint64 // a sequence up to which all messages are in SQL

	mu       sync.Mutex
	consumer jetstream.Consumer
	status   projections.Status
}

// NewView returns the view that writes into store.
func NewView(s *feeds.Streams, store MessageStore) *View {
	return &View{streams: s, store: store, status: projections.Status{Name: "messages", State: projections.Starting}}
}

// Bounds of a batch, from the topology document, and the timeout of an empty pull.
const (
	messageBatch = 100
	messageBytes = 1 << 20
	messagePull  = 30 * time.Second
	// progressInterval is the interval at which a batch that cannot be stored yet
	// reports progress to the consumer; it is shorter than the ack_wait of 60 s.
	progressInterval = 20 * time.Second
)

// Run stores messages until ctx ends; it finishes the current batch.
func (v *View) Run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, 2*time.Second
	for ctx.Err() == nil {
		err := v.follow(ctx, pause.Reset)
		if ctx.Err() != nil {
			return
		}
		v.setWaiting(err)
		t := time.NewTimer(pause.NextBackOff())
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// follow pulls and stores batches until an error; stored is called after each.
func (v *View) follow(ctx context.Context, stored func()) error {
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
	v.setState(projections.Running, "")
	for {
		batch, err := pull(ctx, c)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			continue
		}
		if err := v.process(ctx, batch); err != nil {
			return err
		}
		v.setState(projections.Running, "")
		stored()
	}
}

// pull waits for a message and adds the other available ones, up to a batch.
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
		return batch, nil // the next pull returns the error
	}
	for msg := range more.Messages() {
		batch = append(batch, msg)
	}
	return batch, nil
}

// process stores a batch and then acknowledges it. While the store is
// unavailable it retries and reports progress, so that waiting does not use up
// the batch's deliveries.
func (v *View) process(ctx context.Context, batch []jetstream.Msg) error {
	rows := v.decode(batch)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 2*time.Second
	for reported := time.Now(); ; {
		err := v.storeAll(ctx, rows)
		if err == nil {
			break
		}
		v.setWaiting(err)
		if time.Since(reported) > progressInterval {
			reported = time.Now()
			for _, msg := range batch {
				_ = msg.InProgress() // on failure the server redelivers it
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
		// gofail: var messageAck struct{}
		// return context.DeadlineExceeded
		if err := msg.Ack(); err != nil {
			return fmt.Errorf("acknowledge to %s: %w", feeds.MessageProcessor, err)
		}
	}
	return nil
}

// storeAll stores rows in transactions of at most messageBytes of bodies.
func (v *View) storeAll(ctx context.Context, rows []readmodel.Message) error {
	// A stop must not cancel a transaction, so it has its own timeout.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for len(rows) > 0 {
		n, bytes := 0, 0
		for n < len(rows) && (n == 0 || bytes+len(rows[n].Body) <= messageBytes) {
			bytes += len(rows[n].Body)
			n++
		}
		// gofail: var messageStore struct{}
		// return context.DeadlineExceeded
		if err := v.store.StoreMessages(ctx, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// decode decodes a batch. It logs and skips invalid messages.
func (v *View) decode(batch []jetstream.Msg) []readmodel.Message {
	rows := make([]readmodel.Message, 0, len(batch))
	for _, msg := range batch {
		m, err := decodeMessage(v.streams, msg)
		if err != nil {
			v.streams.Log.Warn("invalid message; it is not stored", "subject", msg.Subject(), "error", err)
			continue
		}
		rows = append(rows, m)
	}
	return rows
}
