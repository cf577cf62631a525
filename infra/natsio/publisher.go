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

// pipeline publishes to streams with many messages in flight and tells what
// each came to. It is jetstream.PublishMsgAsync with less work a message: acks
// are read without reflection, and those who wait for a whole batch are woken
// once.
type Publisher struct {
	nc   *nats.Conn
	root string // of its reply subjects, with the last dot
	next atomic.Uint64

	mu    sync.Mutex
	slots map[uint64]slot // by the last token of the reply subject
}

// acked is what the server answered to one message. An error that is no
// *jetstream.APIError means that it may or may not be stored, unless it is
// nats.ErrNoResponders or came from the client itself.
type Ack struct {
	Seq       uint64
	Duplicate bool
	Err       error
}

// flight is a number of messages that are waited for together.
type flight struct {
	acks []Ack
	left atomic.Int64
	done chan struct{}
}

type slot struct {
	msg   *nats.Msg
	in    *flight
	at    int
	tries int
}

// A stream whose leader is being chosen has nobody who answers for a moment.
const (
	noResponderTries = 3
	noResponderPause = 250 * time.Millisecond
)

func NewPublisher(nc *nats.Conn) (*Publisher, error) {
	p := &Publisher{nc: nc, root: nc.NewInbox() + ".", slots: map[uint64]slot{}}
	sub, err := nc.Subscribe(p.root+"*", p.answer)
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	go p.watch(nc.StatusChanged(nats.RECONNECTING, nats.CLOSED))
	return p, nil
}

// publish sends messages in order and waits for the answers of all. When ctx
// ends first, those without an answer have its error.
func (p *Publisher) Publish(ctx context.Context, msgs ...*nats.Msg) []Ack {
	f := &flight{acks: make([]Ack, len(msgs)), done: make(chan struct{})}
	if len(msgs) == 0 {
		return f.acks
	}
	f.left.Store(int64(len(msgs)))
	first := p.next.Add(uint64(len(msgs))) - uint64(len(msgs))
	p.mu.Lock()
	for i, m := range msgs {
		p.slots[first+uint64(i)] = slot{msg: m, in: f, at: i}
	}
	p.mu.Unlock()
	for i, m := range msgs {
		m.Reply = p.root + strconv.FormatUint(first+uint64(i), 36)
		if err := p.nc.PublishMsg(m); err != nil {
			p.settle(first+uint64(i), Ack{Err: err})
		}
	}
	select {
	case <-f.done:
		return f.acks
	case <-ctx.Done():
	}
	for i := range msgs {
		p.settle(first+uint64(i), Ack{Err: ctx.Err()})
	}
	<-f.done // an answer that was being taken comes before
	return f.acks
}

// settle gives a message its answer; only the first counts.
func (p *Publisher) settle(id uint64, a Ack) {
	p.mu.Lock()
	s, ok := p.slots[id]
	delete(p.slots, id)
	p.mu.Unlock()
	if ok {
		s.land(a)
	}
}

func (s *slot) land(a Ack) {
	s.in.acks[s.at] = a
	if s.in.left.Add(-1) == 0 {
		close(s.in.done)
	}
}

func (p *Publisher) answer(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[len(p.root):], 36, 64)
	if err != nil {
		return
	}
	if len(m.Data) > 0 {
		p.settle(id, readAck(m.Data))
		return
	}
	p.mu.Lock()
	s, ok := p.slots[id]
	if s.tries++; ok {
		p.slots[id] = s
	}
	p.mu.Unlock()
	if !ok || s.tries == noResponderTries {
		p.settle(id, Ack{Err: nats.ErrNoResponders})
		return
	}
	time.AfterFunc(noResponderPause, func() {
		if err := p.nc.PublishMsg(s.msg); err != nil {
			p.settle(id, Ack{Err: err})
		}
	})
}

// watch gives up what was in flight when the connection broke: its answers are
// lost.
func (p *Publisher) watch(changed <-chan nats.Status) {
	for status := range changed {
		p.mu.Lock()
		lost := p.slots
		p.slots = map[uint64]slot{}
		p.mu.Unlock()
		for _, s := range lost {
			s.land(Ack{Err: nats.ErrDisconnected})
		}
		if status == nats.CLOSED {
			return
		}
	}
}

// readAck reads {"stream":…,"seq":N,…}, which the server always writes so, by
// hand; an error, and what is written in another way, with the library.
func readAck(data []byte) Ack {
	const seq, known = `","seq":`, `"duplicate":` // only where true
	if i := bytes.Index(data, []byte(seq)); i > 0 && bytes.HasPrefix(data, []byte(`{"stream":"`)) {
		n, end := uint64(0), i+len(seq)
		for ; end < len(data) && data[end] >= '0' && data[end] <= '9'; end++ {
			n = n*10 + uint64(data[end]-'0')
		}
		if n > 0 {
			return Ack{Seq: n, Duplicate: bytes.Contains(data[end:], []byte(known))}
		}
	}
	var full struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	switch err := json.Unmarshal(data, &full); {
	case err == nil && full.Error != nil:
		return Ack{Err: full.Error}
	case err != nil || full.Stream == "" || full.Sequence == 0:
		return Ack{Err: jetstream.ErrInvalidJSAck}
	}
	return Ack{Seq: full.Sequence, Duplicate: full.Duplicate}
}
