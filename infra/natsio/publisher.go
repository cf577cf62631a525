package natsio

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Publisher publishes to streams with many messages in flight and returns the ack
// of each. It does less work per message than jetstream.PublishMsgAsync: it
// decodes acks without reflection and wakes the caller once per batch.
type Publisher struct {
	nc   *nats.Conn
	root string // of the reply subjects, with a trailing dot
	next atomic.Uint64

	mu      sync.Mutex
	pending map[uint64]pendingMessage // by the last token of the reply subject
}

// Ack is the server's reply to one message. Err is a *jetstream.APIError,
// nats.ErrNoResponders or an error of the client before it sent: the message is
// not stored. After any other error the message may or may not be stored.
type Ack struct {
	Seq       uint64
	Duplicate bool
	Err       error
}

// pendingBatch holds the acks of the messages of one Publish call.
type pendingBatch struct {
	acks      []Ack
	remaining atomic.Int64
	done      chan struct{}
}

type pendingMessage struct {
	msg   *nats.Msg
	batch *pendingBatch
	index int
	tries int
}

// A stream has no responders while it elects a leader, so the publisher retries.
const (
	noResponderTries = 3
	noResponderDelay = 250 * time.Millisecond
)

// NewPublisher subscribes to the replies on nc. The publisher lives until nc closes.
func NewPublisher(nc *nats.Conn) (*Publisher, error) {
	p := &Publisher{nc: nc, root: nc.NewInbox() + ".", pending: map[uint64]pendingMessage{}}
	sub, err := nc.Subscribe(p.root+"*", p.onReply)
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	go p.watchConnection(nc.StatusChanged(nats.RECONNECTING, nats.CLOSED))
	return p, nil
}

// Publish sends messages in order and waits for the acks of all. When ctx ends
// first, the acks that are missing carry its error.
func (p *Publisher) Publish(ctx context.Context, msgs ...*nats.Msg) []Ack {
	b := &pendingBatch{acks: make([]Ack, len(msgs)), done: make(chan struct{})}
	if len(msgs) == 0 {
		return b.acks
	}
	b.remaining.Store(int64(len(msgs)))
	first := p.next.Add(uint64(len(msgs))) - uint64(len(msgs))
	p.mu.Lock()
	for i, m := range msgs {
		p.pending[first+uint64(i)] = pendingMessage{msg: m, batch: b, index: i}
	}
	p.mu.Unlock()
	for i, m := range msgs {
		m.Reply = p.root + strconv.FormatUint(first+uint64(i), 36)
		if err := p.nc.PublishMsg(m); err != nil {
			p.resolve(first+uint64(i), Ack{Err: err})
		}
	}
	select {
	case <-b.done:
		return b.acks
	case <-ctx.Done():
	}
	for i := range msgs {
		p.resolve(first+uint64(i), Ack{Err: ctx.Err()})
	}
	<-b.done // onReply may still be writing an ack
	return b.acks
}

// resolve sets the ack of a message; only the first call has an effect.
func (p *Publisher) resolve(id uint64, a Ack) {
	p.mu.Lock()
	s, ok := p.pending[id]
	delete(p.pending, id)
	p.mu.Unlock()
	if ok {
		s.complete(a)
	}
}

func (s *pendingMessage) complete(a Ack) {
	s.batch.acks[s.index] = a
	if s.batch.remaining.Add(-1) == 0 {
		close(s.batch.done)
	}
}

func (p *Publisher) onReply(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[len(p.root):], 36, 64)
	if err != nil {
		return
	}
	if len(m.Data) > 0 {
		p.resolve(id, decodeAck(m.Data))
		return
	}
	p.mu.Lock()
	s, ok := p.pending[id]
	if s.tries++; ok {
		p.pending[id] = s
	}
	p.mu.Unlock()
	if !ok || s.tries == noResponderTries {
		p.resolve(id, Ack{Err: nats.ErrNoResponders})
		return
	}
	time.AfterFunc(noResponderDelay, func() {
		if err := p.nc.PublishMsg(s.msg); err != nil {
			p.resolve(id, Ack{Err: err})
		}
	})
}

// watchConnection fails the messages in flight when the connection breaks: their
// acks are lost.
func (p *Publisher) watchConnection(changed <-chan nats.Status) {
	for status := range changed {
		p.mu.Lock()
		lost := p.pending
		p.pending = map[uint64]pendingMessage{}
		p.mu.Unlock()
		for _, s := range lost {
			s.complete(Ack{Err: nats.ErrDisconnected})
		}
		if status == nats.CLOSED {
			return
		}
	}
}

// decodeAck decodes {"stream":…,"seq":N,…}, the form that the server writes,
// without reflection, and errors and any other form with encoding/json.
func decodeAck(data []byte) Ack {
	const seq, duplicate = `","seq":`, `"duplicate":` // present only when true
	if i := bytes.Index(data, []byte(seq)); i > 0 && bytes.HasPrefix(data, []byte(`{"stream":"`)) {
		n, end := uint64(0), i+len(seq)
		for ; end < len(data) && data[end] >= '0' && data[end] <= '9'; end++ {
			n = n*10 + uint64(data[end]-'0')
		}
		if n > 0 {
			return Ack{Seq: n, Duplicate: bytes.Contains(data[end:], []byte(duplicate))}
		}
	}
	var ack struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	switch err := json.Unmarshal(data, &ack); {
	case err == nil && ack.Error != nil:
		return Ack{Err: ack.Error}
	case err != nil || ack.Stream == "" || ack.Sequence == 0:
		return Ack{Err: jetstream.ErrInvalidJSAck}
	}
	return Ack{Seq: ack.Sequence, Duplicate: ack.Duplicate}
}
