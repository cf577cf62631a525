// Package journaltest makes journals on real servers, for tests.
package journaltest

import (
	"testing"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/support"
)

// New opens a journal with that many partitions on a server of the test's own.
func New(t testing.TB, partitions int) *journal.Journal {
	t.Helper()
	nc := support.Engine(t, support.NATS(t))
	j, err := journal.Open(t.Context(), nc, journal.Config{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// History opens such a journal without an archive, as commands and queries use it.
func History(t testing.TB, partitions int) *history.History {
	t.Helper()
	return history.New(New(t, partitions), nil, 0)
}
