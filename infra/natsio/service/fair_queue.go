package service

import "sync"

// fairQueue holds work by client. The work of one client is done in order, one at a time;
// clients take turns, so that none waits for all that another one has sent.
type fairQueue struct {
	mu      sync.Mutex
	arrived *sync.Cond
	clients map[string]*clientQueue
	turns   []string // clients that have work and none under way
	closed  bool
}

type clientQueue struct {
	waiting []func()
	busy    bool
}

func newFairQueue() *fairQueue {
	q := &fairQueue{clients: map[string]*clientQueue{}}
	q.arrived = sync.NewCond(&q.mu)
	return q
}

// idle reports whether a client has no work here, so that its next may be done at once.
func (q *fairQueue) idle(client string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.clients[client] == nil
}

func (q *fairQueue) add(client string, work func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.clients[client]
	if c == nil {
		c = &clientQueue{}
		q.clients[client] = c
	}
	c.waiting = append(c.waiting, work)
	q.turn(client, c)
}

// turn gives a client a turn when it has work and none under way.
func (q *fairQueue) turn(client string, c *clientQueue) {
	if !c.busy && len(c.waiting) > 0 {
		c.busy = true
		q.turns = append(q.turns, client)
		q.arrived.Signal()
	}
}

// run does work until the queue is closed and empty.
func (q *fairQueue) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.turns) == 0 && !q.closed {
			q.arrived.Wait()
		}
		if len(q.turns) == 0 {
			return
		}
		client := q.turns[0]
		q.turns = q.turns[1:]
		c := q.clients[client]
		work := c.waiting[0]
		c.waiting = c.waiting[1:]
		q.mu.Unlock()
		work()
		q.mu.Lock()
		if c.busy = false; len(c.waiting) == 0 {
			delete(q.clients, client)
		}
		q.turn(client, c)
	}
}

func (q *fairQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.arrived.Broadcast()
}
