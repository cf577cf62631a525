package intake

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
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
)

// commandTopic is one consumer.
type commandTopic struct {
	out   chan *message.Message
	slots chan struct{}
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
