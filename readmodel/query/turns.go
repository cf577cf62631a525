package query

import (
	"context"
	"sync"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// maxPages is how many pages are made at a time. A page is in memory several times until it
// is sent, so this bounds the memory of large answers.
const maxPages = 32

// turns bound the pages that are made at a time.
type turns struct {
	once  sync.Once
	taken chan struct{}
}

// take waits for a turn, without the slot of the query: 429 when it does not come. The turn
// is left while the query waits for a token.
func (t *turns) take(ctx context.Context) (_ context.Context, leave func(), err error) {
	t.once.Do(func() { t.taken = make(chan struct{}, maxPages) })
	leave = func() { <-t.taken }
	enter := func() { t.taken <- struct{}{} }
	select {
	case t.taken <- struct{}{}:
	default:
		got := false
		err := wait.Idle(ctx, func(ctx context.Context) {
			select {
			case t.taken <- struct{}{}:
				got = true
			case <-ctx.Done():
			}
		})
		if err != nil || !got {
			if err == nil {
				err = domain.Errorf(domain.Overloaded, "engine.overloaded", "too many lists and histories are asked for: retry later").With("retry_after_ms", 500)
			}
			return ctx, nil, err
		}
	}
	slot := &wait.Slot{Leave: func() error { leave(); return nil }, Enter: enter}
	return wait.WithSlot(ctx, slot), leave, nil
}
