package service

import (
	"strings"
	"sync"

	"github.com/tidemark-engine/tidemark/domain"
)

// budget bounds what requests hold until their answers, by number and by bytes, in
// total and for each client: a principal, or a connection of one without credentials. A
// client may hold no more than what is free, so that several greedy clients leave room
// for the others. It is asked before a body is read.
type budget struct {
	what       string // commands, queries, waiting queries
	max, share holding

	mu      sync.Mutex
	used    holding
	clients map[string]holding
}

// holding is what requests hold.
type holding struct{ count, bytes int64 }

func (h holding) within(limit holding) bool { return h.count <= limit.count && h.bytes <= limit.bytes }

// newBudget gives one client at most half of the requests and a quarter of the bytes,
// but always room for one large request.
func newBudget(what string, count, bytes, largest int64) *budget {
	return &budget{what: what, max: holding{count, max(bytes, largest)}, share: holding{max(1, count/2), max(bytes/4, largest)}, clients: map[string]holding{}}
}

// retryAfter is how long a refused client should wait, in milliseconds.
const retryAfter = 100

// enter takes a request, or refuses it with 429 engine.overloaded. It returns what the
// client holds then. Each taken request must be followed by leave.
func (b *budget) enter(client string, bytes int) (holding, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	mine := b.clients[client]
	mine.count, mine.bytes = mine.count+1, mine.bytes+int64(bytes)
	all := holding{b.used.count + 1, b.used.bytes + int64(bytes)}
	switch {
	case !all.within(b.max):
		return mine, overloaded("the engine holds %d %s of %d bytes, as many as it takes", b.used.count, b.what, b.used.bytes)
	case !mine.within(b.share), mine.count > 1 && !mine.within(holding{b.max.count - all.count, b.max.bytes - all.bytes}):
		return mine, overloaded("this client has %d %s of %d bytes without an answer, as many as one may have", mine.count-1, b.what, mine.bytes-int64(bytes))
	}
	b.used = all
	if mine.count == 1 {
		client = strings.Clone(client) // it is a part of a message
	}
	b.clients[client] = mine
	return mine, nil
}

func (b *budget) leave(client string, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used.count, b.used.bytes = b.used.count-1, b.used.bytes-int64(bytes)
	mine := b.clients[client]
	if mine.count, mine.bytes = mine.count-1, mine.bytes-int64(bytes); mine.count == 0 {
		delete(b.clients, client)
		return
	}
	b.clients[client] = mine
}

func overloaded(format string, args ...any) error {
	return domain.Errorf(domain.Overloaded, "engine.overloaded", format+": retry later", args...).With("retry_after_ms", retryAfter)
}

// clientOf names the connection that asks: clients make the inbox of each request below
// one of their connection's own. A request without a reply is of no known client.
func clientOf(reply string) string {
	if strings.Count(reply, ".") < 2 {
		return reply
	}
	return reply[:strings.LastIndexByte(reply, '.')]
}
