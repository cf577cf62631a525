// Package wait has the waits of requests: a sleep that ends with its context, and
// [Idle], which lends what a request holds to others while the request waits.
package wait

import (
	"context"
	"time"
)

// Sleep returns nil after d, or the context's error as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
