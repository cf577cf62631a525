package intake

import (
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/domain"
)

// turns gives the clients turns to store commands. The stream stores one at a time, and one
// command would wait behind thousands that another client sent before.
type turns struct {
	send func(*nats.Msg) (sent bool) // it is called with the lock

	mu      sync.Mutex
	queues  map[string]*turnQueue
	order   []*turnQueue // those with commands; the first has the next turn
	bytes   int
	sent    int       // without an answer of the stream
	changed time.Time // of sent
	looking bool      // look is due
	closed  bool
}

type turnQueue struct {
	client string
	msgs   []*nats.Msg
	bytes  int
}

const (
	// maxSent is how many commands are on their way into the stream.
	maxSent = 128
	// answerTime is how long the stream may be silent before more commands are sent: it may
	// have lost what it had.
	answerTime = 5 * time.Second
)

// add takes the command of a client, or refuses it with 429: those that wait here are bounded
// as a whole, and a client may have no more than what is free.
func (t *turns) add(client string, msg *nats.Msg) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[client]
	if q != nil && q.bytes > endpointBytes-t.bytes {
		return domain.Errorf(domain.Overloaded, "engine.overloaded", "%d bytes of commands of this client wait to be stored, more than what is free for all others: retry later", q.bytes)
	}
	if q == nil {
		q = &turnQueue{client: client}
		t.queues[client] = q
		t.order = append(t.order, q)
	}
	size := msg.Size() + storedOverhead
	q.msgs, q.bytes, t.bytes = append(q.msgs, msg), q.bytes+size, t.bytes+size
	t.next()
	return nil
}

// answered says that the stream has answered one command.
func (t *turns) answered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent, t.changed = max(t.sent-1, 0), time.Now()
	t.next()
}

// close sends all that wait.
func (t *turns) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.next()
}

// next sends the commands whose turn it is; the caller holds the lock.
func (t *turns) next() {
	for len(t.order) > 0 && (t.sent < maxSent || t.closed) {
		q := t.order[0]
		msg := q.msgs[0]
		q.msgs[0] = nil
		size := msg.Size() + storedOverhead
		q.msgs, q.bytes, t.bytes = q.msgs[1:], q.bytes-size, t.bytes-size
		t.order = slices.Delete(t.order, 0, 1)
		if len(q.msgs) > 0 {
			t.order = append(t.order, q)
		} else {
			delete(t.queues, q.client)
		}
		if t.send(msg) {
			t.sent, t.changed = t.sent+1, time.Now()
		}
	}
	if len(t.order) > 0 && !t.looking {
		t.looking = true
		time.AfterFunc(answerTime, t.look)
	}
}

// look sends more after a stream has been silent for long.
func (t *turns) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looking = false
	if time.Since(t.changed) >= answerTime {
		t.sent = 0
	}
	t.next()
}
