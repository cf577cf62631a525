package service

import (
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// AwaitWaiting waits until n queries wait.
func (s *Service) AwaitWaiting(t testing.TB, n int) {
	t.Helper()
	harness.Eventually(t, "the queries wait", func() bool {
		s.waiting.mu.Lock()
		defer s.waiting.mu.Unlock()
		return s.waiting.used.count == int64(n)
	})
}
