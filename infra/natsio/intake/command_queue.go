package intake

import (
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/internal/wait"
)

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
	msg   jetstream.Msg // its last delivery; guarded by the subscriber's lock until it is removed
	seq   uint64
	topic *commandTopic
	slot  bool
}

const (
	// retryMax and lookMax bound the pauses before a failed command is executed
	// again, and before a command looks again for an earlier one that another
	// engine has; in units of Config.Backoff. The latter pauses begin with a
	// lookFirst-th of the unit, because engines that share the commands of an
	// aggregate wait for each other at each command.
	retryMax  = 50
	lookMax   = 20
	lookFirst = 64
)

// work delivers the commands of a queue until it is empty or the router stops.
func (s *commandSubscriber) work(q *commandQueue) {
	defer s.gate.leave()
	failures, looks := 0, 0
	for {
		e, msg, settled := s.next(q)
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
			if s.deliver(q, e, msg) {
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
func (s *commandSubscriber) deliver(q *commandQueue, e *commandEntry, msg jetstream.Msg) (settled bool) {
	// gofail: var queueDeliver struct{}
	// return false
	m, _ := unmarshaler{}.Unmarshal(msg)
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

// next returns the first entry, its last delivery and the sequence of the aggregate's last
// settled command, or ends the queue.
func (s *commandSubscriber) next(q *commandQueue) (first *commandEntry, msg jetstream.Msg, settled uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(q.entries) == 0 {
		delete(s.queues, q.name)
		return nil, nil, 0
	}
	return q.entries[0], q.entries[0].msg, s.settled[q.name]
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
