package query

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// maxPages is how many pages are made at a time. A page is in memory several times until it
// is sent, so this bounds the memory of large answers.
const maxPages = 32

// maxPagesOfOne is how many of these one principal has: a page takes a processor.
var maxPagesOfOne = min(maxPages/2, max(4, runtime.GOMAXPROCS(0)))

// turns bound the pages that are made at a time. Principals that wait get turns one after the
// other; clients without credentials count as one, which may have all.
type turns struct {
	mu      sync.Mutex
	taken   int
	of      map[string]*line
	waiting []*line // those with a queue, the next first
}

// line is what one principal has.
type line struct {
	most, taken int
	queue       []chan struct{} // each is closed with its turn
}

// enter takes a turn, which turn says when it comes: nil = now.
func (t *turns) enter(name string) (turn chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of[name]
	if l == nil {
		l = &line{most: maxPagesOfOne}
		if name == "" {
			l.most = maxPages
		}
		if t.of == nil {
			t.of = map[string]*line{}
		}
		t.of[name] = l
	}
	if t.taken < maxPages && l.taken < l.most {
		t.taken++
		l.taken++
		return nil
	}
	turn = make(chan struct{})
	if l.queue = append(l.queue, turn); len(l.queue) == 1 {
		t.waiting = append(t.waiting, l)
	}
	return turn
}

// leave gives a turn back, to the next principal that waits and may have one more.
func (t *turns) leave(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of[name]
	t.taken--
	l.taken--
	if i := slices.IndexFunc(t.waiting, func(w *line) bool { return w.taken < w.most }); i >= 0 {
		next := t.waiting[i]
		t.waiting = slices.Delete(t.waiting, i, i+1)
		t.taken++
		next.taken++
		close(next.queue[0])
		if next.queue = next.queue[1:]; len(next.queue) > 0 {
			t.waiting = append(t.waiting, next)
		}
	}
	t.forget(name, l)
}

// cancel gives a turn up that may not have come yet.
func (t *turns) cancel(name string, turn chan struct{}) {
	t.mu.Lock()
	l := t.of[name]
	i := slices.Index(l.queue, turn)
	if i >= 0 {
		if l.queue = slices.Delete(l.queue, i, i+1); len(l.queue) == 0 {
			t.waiting = slices.DeleteFunc(t.waiting, func(w *line) bool { return w == l })
		}
		t.forget(name, l)
	}
	t.mu.Unlock()
	if i < 0 {
		t.leave(name)
	}
}

// forget removes a line that has nothing. It is called with mu held.
func (t *turns) forget(name string, l *line) {
	if l.taken == 0 && len(l.queue) == 0 {
		delete(t.of, name)
	}
}

// take waits for a turn, without the slot of the query: 429 when it does not come. The turn
// is left while the query waits for a token.
func (t *turns) take(ctx context.Context) (_ context.Context, leave func(), err error) {
	name := ""
	if c := identity.From(ctx); c != nil && c.Principal != identity.Dev {
		name = c.Principal
	}
	leave = func() { t.leave(name) }
	if turn := t.enter(name); turn != nil {
		got := false
		err := wait.Idle(ctx, func(ctx context.Context) {
			select {
			case <-turn:
				got = true
			case <-ctx.Done():
			}
		})
		if err != nil || !got {
			t.cancel(name, turn)
			if err == nil {
				err = domain.Errorf(domain.Overloaded, "engine.overloaded", "too many lists and histories are asked for: retry later").With("retry_after_ms", 500)
			}
			return ctx, nil, err
		}
	}
	slot := &wait.Slot{Leave: func() error { leave(); return nil }, Enter: func() {
		if turn := t.enter(name); turn != nil {
			<-turn
		}
	}}
	return wait.WithSlot(ctx, slot), leave, nil
}
