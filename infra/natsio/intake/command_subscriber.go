package intake

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/internal/wait"
)

// commandSubscriber gives Watermill's router the commands of each aggregate one
// at a time, in the order of the stream, and those of different aggregates at the
// same time. A command is delivered only when it is the first of its aggregate in
// COMMANDS, so the order holds across engines and redeliveries: the work queue
// removes a command when it is acknowledged. A command that is not acknowledged
// waits here with its later ones, and other aggregates go on.
//
// Watermill's own subscriber delivers one message of a consumer at a time.
type commandSubscriber struct {
	in        *Intake
	gate      *drainGate
	stopping  context.Context
	closed    chan struct{}
	close     sync.Once
	consumers map[string]jetstream.Consumer // by topic

	mu        sync.Mutex
	topics    []*commandTopic
	queues    map[string]*commandQueue // by aggregate
	settled   map[string]uint64        // sequence of the last command that was settled, of recent aggregates
	held      int                      // entries without a slot
	heldBytes int
}

func newCommandSubscriber(in *Intake, gate *drainGate, stopping context.Context, consumers map[string]jetstream.Consumer) *commandSubscriber {
	s := &commandSubscriber{
		in: in, gate: gate, stopping: stopping, closed: make(chan struct{}), consumers: consumers,
		queues: map[string]*commandQueue{}, settled: map[string]uint64{},
	}
	go s.extend()
	return s
}

const (
	// laneSlots is the number of commands of one consumer that are executed, or
	// wait for a command that is.
	laneSlots = 64
	// slowCommand is how long a command may take before it counts as waiting.
	slowCommand = time.Second
	// maxHeld and maxHeldBytes bound the waiting commands that an engine keeps in
	// memory and extends the ack wait of. The server keeps the others for
	// heldElsewhere, then delivers them again.
	maxHeld       = 20_000
	maxHeldBytes  = 64 << 20
	heldElsewhere = 30 * time.Second
	// maxSettled bounds the remembered aggregates. Without the memory a command
	// finds the one before it in the stream for as long as its ack is on the way.
	maxSettled = 16_384
	// retryMax and lookMax bound the pauses before a failed command is executed
	// again, and before a command looks again for an earlier one that another
	// engine has; in units of Config.Backoff. The latter pauses begin with a
	// lookFirst-th of the unit, because engines that share the commands of an
	// aggregate wait for each other at each command.
	retryMax  = 50
	lookMax   = 20
	lookFirst = 64
)

// commandTopic is one consumer.
type commandTopic struct {
	out   chan *message.Message
	slots chan struct{}
}

// commandQueue holds the commands of one aggregate that this engine has received.
// It exists while it has entries, and one goroutine works on it.
type commandQueue struct {
	name    string
	root    string // of the aggregate's subjects; empty = any order will do
	entries []*commandEntry
	waits   bool // its first command waits
}

// commandEntry is one command.
type commandEntry struct {
	msg   jetstream.Msg
	seq   uint64
	topic *commandTopic
	slot  bool
}

// Subscribe implements message.Subscriber; topic is a consumer.
func (s *commandSubscriber) Subscribe(_ context.Context, topic string) (<-chan *message.Message, error) {
	t := &commandTopic{out: make(chan *message.Message), slots: make(chan struct{}, laneSlots)}
	s.mu.Lock()
	s.topics = append(s.topics, t)
	s.mu.Unlock()
	_, err := s.consumers[topic].Consume(func(msg jetstream.Msg) { s.receive(t, msg) })
	return t.out, err
}

// Close implements message.Subscriber. The drain gate has ended all deliveries.
func (s *commandSubscriber) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.topics {
		close(t.out)
	}
	s.topics = nil
	s.close.Do(func() { close(s.closed) })
	return nil
}

// receive adds a message to the queue of its aggregate. It blocks while the
// consumer's slots are used, by commands that do not wait.
func (s *commandSubscriber) receive(t *commandTopic, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		return // not from the stream
	}
	select {
	case t.slots <- struct{}{}:
	case <-s.stopping.Done():
		giveBack(msg, returnDelay)
		return
	}
	e := &commandEntry{msg: msg, seq: meta.Sequence.Stream, topic: t, slot: true}
	name, root := s.in.streams.order(msg.Subject(), e.seq)
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[name]
	if q == nil {
		if !s.gate.enter() {
			<-t.slots
			giveBack(msg, returnDelay)
			return
		}
		q = &commandQueue{name: name, root: root}
		s.queues[name] = q
		defer func() { go s.work(q) }()
	}
	i, again := slices.BinarySearchFunc(q.entries, e.seq, func(o *commandEntry, seq uint64) int { return cmp.Compare(o.seq, seq) })
	if again { // delivered again: acknowledge the later delivery
		q.entries[i].msg = msg
		<-t.slots
		return
	}
	q.entries = slices.Insert(q.entries, i, e)
	if q.waits {
		s.hold(q, e)
	}
}

// work delivers the commands of a queue until it is empty or the router stops.
func (s *commandSubscriber) work(q *commandQueue) {
	defer s.gate.leave()
	failures, looks := 0, 0
	for {
		e, settled := s.next(q)
		if e == nil {
			return
		}
		if s.stopping.Err() != nil {
			s.remove(q, e, false)
			giveBack(e.msg, returnDelay)
			continue
		}
		pause := min(s.in.cfg.Backoff/lookFirst<<min(looks, 16), lookMax*s.in.cfg.Backoff)
		first, err := s.in.streams.first(s.stopping, s.in.conn, q.root, min(settled+1, e.seq), e.seq)
		switch {
		case err == nil && first > e.seq:
			// It is settled, or the replica that answered lags: then it is
			// delivered again.
			s.remove(q, e, false)
			failures, looks = 0, 0
			continue
		case err == nil && first == e.seq:
			if s.deliver(q, e) {
				s.remove(q, e, true)
				// gofail: var queueAck struct{}
				_ = e.msg.Ack() // a lost ack costs a redelivery, which finds the work done
				failures, looks = 0, 0
				continue
			}
			pause = s.in.cfg.Backoff * time.Duration(min(1<<min(failures, 16), retryMax))
			failures++
		default:
			looks++
		}
		// It must wait, an earlier one is with another engine, or the stream does
		// not answer.
		if s.wait(q) {
			s.remove(q, e, false)
			giveBack(e.msg, heldElsewhere)
			continue
		}
		_ = wait.Sleep(s.stopping, pause)
	}
}

// deliver gives a command to the router and reports whether it is settled.
func (s *commandSubscriber) deliver(q *commandQueue, e *commandEntry) (settled bool) {
	// gofail: var queueDeliver struct{}
	// return false
	m, _ := unmarshaler{}.Unmarshal(e.msg)
	slow := time.AfterFunc(slowCommand, func() { s.wait(q) })
	defer slow.Stop()
	e.topic.out <- m
	select {
	case <-m.Acked():
		return true
	case <-m.Nacked():
		return false
	}
}

// next returns the first entry and the sequence of the aggregate's last settled
// command, or ends the queue.
func (s *commandSubscriber) next(q *commandQueue) (first *commandEntry, settled uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(q.entries) == 0 {
		delete(s.queues, q.name)
		return nil, 0
	}
	return q.entries[0], s.settled[q.name]
}

// remove removes an entry.
func (s *commandSubscriber) remove(q *commandQueue, e *commandEntry, settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if settled {
		q.waits = false
		if len(s.settled) >= maxSettled {
			clear(s.settled)
		}
		s.settled[q.name] = max(s.settled[q.name], e.seq)
	}
	s.drop(q, e)
}

// drop removes an entry; the caller holds the lock.
func (s *commandSubscriber) drop(q *commandQueue, e *commandEntry) {
	q.entries = slices.DeleteFunc(q.entries, func(o *commandEntry) bool { return o == e })
	if e.slot {
		<-e.topic.slots
	} else {
		s.held--
		s.heldBytes -= len(e.msg.Data())
	}
}

// wait gives the slots of a queue to others until its first command is settled.
// It reports whether the engine holds too many waiting commands.
func (s *commandSubscriber) wait(q *commandQueue) (tooMany bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.waits = true
	for _, e := range slices.Clone(q.entries) {
		s.hold(q, e)
	}
	return s.tooMany()
}

// tooMany reports whether the bounds are exceeded; the caller holds the lock.
func (s *commandSubscriber) tooMany() bool {
	if s.held <= maxHeld && s.heldBytes <= maxHeldBytes {
		return false
	}
	s.in.gaveBack.Store(true)
	return true
}

// hold takes the slot from an entry; the caller holds the lock. An entry beyond
// the bounds goes back to the server, except the first, which may be executing.
func (s *commandSubscriber) hold(q *commandQueue, e *commandEntry) {
	if !e.slot {
		return
	}
	e.slot = false
	<-e.topic.slots
	s.held++
	s.heldBytes += len(e.msg.Data())
	if e != q.entries[0] && s.tooMany() {
		s.drop(q, e)
		giveBack(e.msg, heldElsewhere)
	}
}

// extend extends the ack wait of all entries until the router stops and they are
// gone.
func (s *commandSubscriber) extend() {
	tick := time.NewTicker(commandAckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-s.closed:
			return
		case <-tick.C:
		}
		for _, msg := range s.messages() {
			_ = msg.InProgress() // if it is lost, a redelivery finds the work done
		}
	}
}

func (s *commandSubscriber) messages() (all []jetstream.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		for _, e := range q.entries {
			all = append(all, e.msg)
		}
	}
	return all
}

// giveBack returns a message to the server for a while.
func giveBack(msg jetstream.Msg, d time.Duration) {
	_ = msg.NakWithDelay(d) // if it is lost, the ack wait has the same effect
}
