package natsio_test

import (
	"testing"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { support.Main(m) }

// newJournal is a journal on a server of the test's own.
func newJournal(t testing.TB, partitions int) *natsio.Journal {
	t.Helper()
	nc := support.Engine(t, support.NATS(t))
	j, err := natsio.OpenJournal(t.Context(), nc, natsio.JournalConfig{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return j
}
