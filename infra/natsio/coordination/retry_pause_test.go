package coordination

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
)

// TestRetryPause: a timer that waits for a store fires within seconds after it is back,
// however long it was away.
func TestRetryPause(t *testing.T) {
	for _, c := range []struct {
		err  error
		last time.Duration
	}{
		{errors.New("poisoned"), time.Minute},
		{domain.Errorf(domain.Rejected, "x", "no"), time.Minute},
		{domain.Errorf(domain.Unavailable, "journal.full", "full"), 5 * time.Second},
		{fmt.Errorf("set the timer: %w", jetstream.ErrNoStreamResponse), 5 * time.Second},
		{fmt.Errorf("read: %w", &jetstream.APIError{Code: 503, ErrorCode: 10077}), 5 * time.Second},
	} {
		if first, later := retryPause(1, c.err), retryPause(50, c.err); first != time.Second || later != c.last {
			t.Errorf("%v: %s, later %s, want %s", c.err, first, later, c.last)
		}
	}
}
