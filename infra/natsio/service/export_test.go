package service

import (
	"fmt"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// MaxRefusals is the number of refusals that may wait for their reply.
const MaxRefusals = maxRefusals

// AwaitRefusals waits until n refusals wait for their reply.
func (s *Service) AwaitRefusals(t testing.TB, n int) {
	t.Helper()
	harness.Eventually(t, "the refusals wait", func() error {
		if waiting := len(s.refusals); waiting != n {
			return fmt.Errorf("%d of %d wait", waiting, n)
		}
		return nil
	})
}

// AwaitStopping waits until Stop waits for the open requests alone.
func (s *Service) AwaitStopping(t testing.TB) {
	t.Helper()
	harness.Eventually(t, "the service takes no more requests", func() bool { return s.stopping.Err() != nil })
}

// AwaitWaiting waits until n queries wait.
func (s *Service) AwaitWaiting(t testing.TB, n int) {
	t.Helper()
	harness.Eventually(t, "the queries wait", func() bool {
		s.waiting.mu.Lock()
		defer s.waiting.mu.Unlock()
		return s.waiting.used.count == int64(n)
	})
}
