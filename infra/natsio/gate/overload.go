package gate

import (
	"sync"
	"time"
)

const (
	// maxOpen bounds the requests without an answer, maxOpenOfOne those of one account, and
	// maxAtOnce those of one account that are answered at a time.
	maxOpen, maxOpenOfOne, maxAtOnce = 1024, 128, 8
	// maxOverload bounds the refusals that wait for their answer.
	maxOverload = 4096
)

// turns holds the requests that are not answered, in all and of each account. Few of one
// account are answered at a time: JetStream answers in turn what comes over a connection,
// and an account that asks for much would go before all others.
type turns struct {
	mu  sync.Mutex
	all int
	of  map[string]*line
}

type line struct {
	answered int // at the moment
	waiting  []func()
}

// enter has a request answered now or in its turn; false = there is no room for it.
func (t *turns) enter(account string, answer func(), start func(func())) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of[account]
	if l == nil {
		l = &line{}
	}
	mine := l.answered + len(l.waiting)
	if mine >= maxOpenOfOne || mine >= maxOpen-t.all { // several greedy accounts leave room for the others
		return false
	}
	t.all++
	t.of[account] = l
	if l.answered == maxAtOnce {
		l.waiting = append(l.waiting, answer)
		return true
	}
	l.answered++
	start(func() {
		for next := answer; next != nil; next = t.leave(account, l) {
			next()
		}
	})
	return true
}

// leave ends a request and returns the next of its account; nil = there is none.
func (t *turns) leave(account string, l *line) (next func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all--
	if len(l.waiting) > 0 {
		next, l.waiting = l.waiting[0], l.waiting[1:]
		return next
	}
	if l.answered--; l.answered == 0 {
		delete(t.of, account)
	}
	return nil
}

// overloaded has another goroutine refuse a request: a publish may wait, and a client that
// floods the gate must not delay the requests of others. A connection that goes on sending
// all the same is closed.
func (g *Gate) overloaded(r *request, text string) {
	if g.cfg.Disconnect != nil && r.connection != 0 && g.floods.Refused(r.connection, r.origin, len(r.msg.Data), time.Now()) {
		g.log.Warn("client disconnected: it goes on asking JetStream while its requests are refused", "principal", r.caller.Principal, "connection", r.connection)
		go g.cfg.Disconnect(r.connection)
	}
	refuse := func() { r.refuse(429, text) }
	select {
	case g.overload <- refuse:
	default:
		refuse()
	}
}

// refuses429 answers refusals until Stop.
func (g *Gate) refuses429() {
	for {
		select {
		case refuse := <-g.overload:
			refuse()
		case <-g.ctx.Done():
			return
		}
	}
}
