package counted_test

import (
	"testing"

	"github.com/tidemark-engine/tidemark/internal/counted"
)

func TestOf(t *testing.T) {
	for n, want := range []string{"0 events", "1 event", "2 events"} {
		if got := counted.Of(n, "event"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
