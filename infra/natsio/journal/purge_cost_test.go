package journal_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// The cost of a purge is measured again and again, and leaves nothing behind.
func TestPurgeCost(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	j, err := journal.Open(t.Context(), nc, journal.Config{})
	harness.Must(t, err)
	js := support.JetStream(t, nc)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "TIDEMARK_TRIM", Subjects: []string{"left.behind"}})
	harness.Must(t, err)
	for range 2 {
		if cost, err := j.PurgeCost(t.Context()); err != nil || cost <= 0 || cost > 5*time.Second {
			t.Errorf("%v, %v", cost, err)
		}
	}
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		if name == "TIDEMARK_TRIM" {
			t.Errorf("the stream %s is left", name)
		}
	}
	harness.Must(t, names.Err())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.PurgeCost(ended); err == nil {
		t.Error("no error after the end of the context")
	}
}
