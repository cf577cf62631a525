package commands

import (
	"sync"

	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/events"
)

// mailboxes give every stream one worker at a time, so that commands on one
// aggregate run in the order they came and those on different aggregates side
// by side. A mailbox exists only while it has work.
type mailboxes struct {
	mu      sync.Mutex
	queues  map[events.Stream][]job
	running sync.WaitGroup
	closed  bool

	run      func(*waiter)       // carries out one command
	together func([]*waiter) int // carries out the first ones as one, and tells how many
}

// job is a command, or anything else that must have the stream for itself.
type job struct {
	command *waiter
	other   func()
}

func newMailboxes(run func(*waiter), together func([]*waiter) int) *mailboxes {
	return &mailboxes{queues: make(map[events.Stream][]job), run: run, together: together}
}

// postCommand queues a command behind its stream's others. It tells false when
// the mailboxes are closed; the command is then never carried out.
func (m *mailboxes) postCommand(w *waiter) bool { return m.put(w.cmd.Stream, job{command: w}) }

// post queues job behind the stream's others. It tells false when the
// mailboxes are closed; the job then never runs.
func (m *mailboxes) post(s events.Stream, other func()) bool { return m.put(s, job{other: other}) }

func (m *mailboxes) put(s events.Stream, j job) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	queue, busy := m.queues[s]
	m.queues[s] = append(queue, j)
	if !busy {
		m.running.Add(1)
		go m.work(s)
	}
	return true
}

// postAll runs job once when all the streams' workers have come to it, and
// holds them until it is done. All places in line are taken at once, so two
// such jobs never wait for each other.
func (m *mailboxes) postAll(streams []events.Stream, other func()) bool {
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
			other()
			close(done)
		}
		queue, busy := m.queues[s]
		m.queues[s] = append(queue, job{other: hold})
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
		m.carry(jobs)
	}
}

// carry does what waited, in order.
func (m *mailboxes) carry(jobs []job) {
	for len(jobs) > 0 {
		n := 0
		if row := rowOf(jobs); len(row) > 1 {
			n = m.together(row)
		}
		switch {
		case n > 0:
		case jobs[0].command != nil:
			m.run(jobs[0].command)
		default:
			jobs[0].other()
		}
		jobs = jobs[max(n, 1):]
	}
}

// rowOf are the first jobs as far as they are commands that may go together.
func rowOf(jobs []job) []*waiter {
	var row []*waiter
	for _, j := range jobs[:min(len(jobs), groupcommit.GroupMost)] {
		if j.command == nil || j.command.alone {
			break
		}
		row = append(row, j.command)
	}
	return row
}

// close takes no more work and waits for what was queued.
func (m *mailboxes) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.running.Wait()
}
