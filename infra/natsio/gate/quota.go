package gate

import (
	"sync"
	"time"
)

// quota counts the consumers of each account.
type quota struct {
	mu sync.Mutex
	of map[string]*consumers
}

// consumers are those of one account. Some may have ended since they were counted.
type consumers struct {
	mu      sync.Mutex
	names   map[string]bool // "STREAM NAME"
	counted time.Time       // when they were last looked up
}

// recount is how old a look-up is at least before the next: it asks for the consumers
// of all streams.
const recount = 2 * time.Second

func newQuota() quota { return quota{of: map[string]*consumers{}} }

func (q *quota) account(name string) *consumers {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.of[name]
	if c == nil {
		c = &consumers{names: map[string]bool{}}
		q.of[name] = c
	}
	return c
}

// add counts a consumer. When there are too many, it looks up those that are left.
func (q *quota) add(account, name string, left func(account string) map[string]bool) bool {
	c := q.account(account)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.names[name] && len(c.names) >= maxConsumers && time.Since(c.counted) > recount {
		c.names, c.counted = left(account), time.Now()
	}
	if !c.names[name] && len(c.names) >= maxConsumers {
		return false
	}
	c.names[name] = true
	return true
}

func (q *quota) remove(account, name string) {
	c := q.account(account)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.names, name)
}
