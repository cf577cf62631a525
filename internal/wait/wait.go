// Package wait sleeps until a duration has passed or a context ends. It knows
// nothing else.
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
