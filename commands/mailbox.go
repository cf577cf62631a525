package commands

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/events"
)

// job is a command in the mailbox of its aggregate.
type job struct {
	ctx      context.Context
	deadline time.Time
	cmd      Command
	finish   func(Receipt, error)
	unsure   bool   // an append of it may have been stored
	single   bool   // must not share an append with the next commands
	hold     func() // set instead of all above: keeps the aggregate's worker busy
}

// mailboxes give every aggregate one worker at a time: commands of one
// aggregate run in the order they came, those of different aggregates in
// parallel. A mailbox exists only while it has work.
type mailboxes struct {
	mu      sync.Mutex
	queues  map[events.AggregateName][]*job
	running sync.WaitGroup
	closed  bool

	execute func([]*job) int // executes the first commands of a queue and returns how many
}

func newMailboxes(execute func([]*job) int) *mailboxes {
	return &mailboxes{queues: make(map[events.AggregateName][]*job), execute: execute}
}

// post queues a command. It reports false when the mailboxes are closed; the
// command is then never executed.
func (m *mailboxes) post(j *job) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.put(j.cmd.queue(), j)
	return true
}

// postAll runs f once when the workers of all aggregates have reached it, and
// holds them until it returns. It takes all places in the queues at once, so
// two such functions never wait for each other. It reports false when the
// mailboxes are closed.
func (m *mailboxes) postAll(names []events.AggregateName, f func()) bool {
	var arrived sync.WaitGroup
	arrived.Add(len(names))
	done := make(chan struct{})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	for i, name := range names {
		m.put(name, &job{hold: func() {
			arrived.Done()
			if i > 0 {
				<-done
				return
			}
			arrived.Wait()
			f()
			close(done)
		}})
	}
	return true
}

// put appends a job to a queue; the caller holds the lock.
func (m *mailboxes) put(name events.AggregateName, j *job) {
	queue, busy := m.queues[name]
	m.queues[name] = append(queue, j)
	if !busy {
		m.running.Add(1)
		go m.work(name)
	}
}

// work empties one mailbox.
func (m *mailboxes) work(name events.AggregateName) {
	defer m.running.Done()
	for {
		m.mu.Lock()
		queue := m.queues[name]
		if len(queue) == 0 {
			delete(m.queues, name)
			m.mu.Unlock()
			return
		}
		m.queues[name] = nil
		m.mu.Unlock()
		for len(queue) > 0 {
			n := 0
			for n < min(len(queue), groupcommit.MaxBatch) && queue[n].hold == nil {
				n++
			}
			if n > 0 {
				queue = queue[m.execute(queue[:n]):]
				continue
			}
			queue[0].hold()
			queue = queue[1:]
		}
	}
}

// close accepts no more work and waits for what is queued.
func (m *mailboxes) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.running.Wait()
}
