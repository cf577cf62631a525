package commands

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// holding runs f while no other command of this engine is executed on aggregates. The
// caller must not run in the mailbox of one of them.
func (h *Handler) holding(ctx context.Context, names []events.AggregateName, f func() error) error {
	done := make(chan error, 1)
	posted := h.mailboxes.postAll(names, func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic while %d aggregates were held: %v\n%s", len(names), p, debug.Stack())
			}
		}()
		if ctx.Err() != nil {
			done <- unavailable(context.Cause(ctx), true)
			return
		}
		done <- f()
	})
	if !posted {
		return domain.Errorf(domain.Unavailable, "engine.stopping", "the engine is stopping; send the same command id again")
	}
	return <-done // the deadlines of the commands before bound this
}
