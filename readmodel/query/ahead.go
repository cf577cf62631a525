package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/history"
)

const (
	// aheadFrom is the limit of a page from which on the next one is read ahead: a client
	// that asks for so many events reads on.
	aheadFrom = 500
	// maxAhead is how many pages are kept, for aheadTime each.
	maxAhead  = 8
	aheadTime = 5 * time.Second
)

// ahead holds the pages of events that follow answered ones: the engine reads a page while
// the client works on the one before.
type ahead struct {
	mu    sync.Mutex
	pages map[string]*aheadPage
}

type aheadPage struct {
	done chan struct{}
	page *eventPage // nil = the page is not to be used
}

// take returns the page that was read ahead for a request, once it is there; nil = none.
func (a *ahead) take(ctx context.Context, key string) *eventPage {
	a.mu.Lock()
	w := a.pages[key]
	delete(a.pages, key)
	a.mu.Unlock()
	if w == nil {
		return nil
	}
	select {
	case <-w.done:
		return w.page
	case <-ctx.Done():
		return nil
	}
}

// start reads the page after p, if all of it is stored and none is under way for it.
func (a *ahead) start(ctx context.Context, h *history.History, p *eventPage, head uint64) {
	if p.limit < aheadFrom || p.count < p.limit || p.next+uint64(p.limit) > min(head, p.until) {
		return
	}
	next := newEventPage(p.partition, p.pattern, p.limit, p.permission)
	next.next, next.until, next.room = p.next, p.until, p.room
	key, w := next.key(h.ID()), &aheadPage{done: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pages == nil {
		a.pages = map[string]*aheadPage{}
	}
	if len(a.pages) >= maxAhead || a.pages[key] != nil {
		return
	}
	a.pages[key] = w
	time.AfterFunc(aheadTime, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.pages[key] == w {
			delete(a.pages, key)
		}
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aheadTime)
	go func() {
		defer cancel()
		defer close(w.done)
		if err := next.read(ctx, h, head); errors.Is(err, errFull) && !next.sealed {
			w.page = next // what was encrypted may be erased until it is asked for
		}
	}()
}

// key is the same for requests with the same answer, as long as the journal is the same.
func (p *eventPage) key(journal string) string {
	return fmt.Sprintf("%s %d %q %d %d %d %d%s", journal, p.partition, p.pattern, p.limit, p.next, p.until, p.room, p.permission.cacheName())
}
