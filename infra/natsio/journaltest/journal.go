// Package journaltest makes journals on real servers, for tests.
package journaltest

import (
	"testing"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/support"
)

// New opens a journal with that many partitions on a server of the test's own.
func New(t testing.TB, partitions int) *natsio.Journal {
	t.Helper()
	nc := support.Engine(t, support.NATS(t))
	j, err := natsio.OpenJournal(t.Context(), nc, natsio.JournalConfig{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return j
}
