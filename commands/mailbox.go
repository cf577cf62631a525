package commands

import (
	"sync"

	"github.com/tidemark-engine/tidemark/events"
)

// mailboxes give every stream one worker at a time, so that commands on one
// aggregate run in the order they came and those on different aggregates side
// by side. A mailbox exists only while it has work.
type mailboxes struct {
	mu      sync.Mutex
	queues  map[events.Stream][]func()
	running sync.WaitGroup
	closed  bool
}

func newMailboxes() *mailboxes { return &mailboxes{queues: make(map[events.Stream][]func())} }

// post queues job behind the stream's others. It tells false when the
// mailboxes are closed; the job then never runs.
func (m *mailboxes) post(s events.Stream, job func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	queue, busy := m.queues[s]
	m.queues[s] = append(queue, job)
	if !busy {
		m.running.Add(1)
		go m.work(s)
	}
	return true
}

// postAll runs job once when all the streams' workers have come to it, and
// holds them until it is done. All places in line are taken at once, so two
// such jobs never wait for each other.
func (m *mailboxes) postAll(streams []events.Stream, job func()) bool {
	var arrived sync.WaitGroup
	arrived.Add(len(streams))
	done := make(chan struct{})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	for i, s := range streams {
		hold := func() {
			arrived.Done()
			if i > 0 {
				<-done
				return
			}
			arrived.Wait()
			job()
			close(done)
		}
		queue, busy := m.queues[s]
		m.queues[s] = append(queue, hold)
		if !busy {
			m.running.Add(1)
			go m.work(s)
		}
	}
	return true
}

func (m *mailboxes) work(s events.Stream) {
	defer m.running.Done()
	for {
		m.mu.Lock()
		jobs := m.queues[s]
		if len(jobs) == 0 {
			delete(m.queues, s)
			m.mu.Unlock()
			return
		}
		m.queues[s] = nil
		m.mu.Unlock()
		for _, job := range jobs {
			job()
		}
	}
}

// close takes no more work and waits for what was queued.
func (m *mailboxes) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.running.Wait()
}
