package intake

import (
	"context"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// openFunc opens a router.
type openFunc func(context.Context) (*router, error)

// openTime bounds one attempt to open a router again.
const openTime = 30 * time.Second

// supervise opens a router, and opens it again when a consumer ends, for
// example because it was deleted. It closes the router when stopping ends, and
// then closes stopped.
func supervise(ctx, stopping context.Context, open openFunc, log *slog.Logger) (stopped <-chan struct{}, err error) {
	r, err := open(ctx)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r != nil {
			select {
			case <-stopping.Done():
				r.close()
				return
			case <-r.gate.broken:
			}
			log.Error("an intake consumer ended unexpectedly, creating it again")
			r.close()
			r = reopen(stopping, open, log)
		}
	}()
	return done, nil
}

// reopen retries until open succeeds; it returns nil when the intake stops.
func reopen(stopping context.Context, open openFunc, log *slog.Logger) *router {
	r, err := backoff.Retry(stopping, func() (*router, error) {
		ctx, cancel := context.WithTimeout(stopping, openTime)
		defer cancel()
		return open(ctx)
	}, backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, next time.Duration) {
		log.Warn("restarting the intake failed, retrying", "error", err, "retry_in", next)
	}))
	if err != nil {
		return nil
	}
	return r
}
