// Package journaltest creates journals on real servers, for tests.
package journaltest

import (
	"testing"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/support"
)

// New opens a journal with a number of partitions on a new server.
func New(t testing.TB, partitions int) *journal.Journal {
	t.Helper()
	nc := support.Engine(t, support.NATS(t))
	j, err := journal.Open(t.Context(), nc, journal.Config{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// History is New as a history without an archive.
func History(t testing.TB, partitions int) *history.History {
	t.Helper()
	return history.New(New(t, partitions), nil, 0)
}
