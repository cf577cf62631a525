package coordination_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestProgressOfAnotherStore: an engine takes no position for that of its own store which
// is another's, in whatever order the two become known.
func TestProgressOfAnotherStore(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	var theirs, mine atomic.Value
	theirs.Store("a")
	mine.Store("a")
	holder := coordination.NewProgressBroadcast(nc, natsio.NewSubjects(""))
	holder.Store = func(string) string { return theirs.Load().(string) }
	reader := coordination.NewProgressBroadcast(nc, natsio.NewSubjects(""))
	reader.Store = func(view string) string {
		if view == "hot" {
			return "" // all engines share it
		}
		return mine.Load().(string)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	at := map[string]*projections.Progress{"durable": projections.NewProgress(1), "hot": projections.NewProgress(1)}
	for view, own := range at {
		progress := projections.NewProgress(1)
		progress.Set(0, 7)
		go holder.Publish(ctx, view, 0, progress)
		harness.Must(t, reader.Follow(view, own))
	}
	for _, step := range []struct {
		theirs, mine string
		durable      uint64
		elsewhere    []string
	}{
		{"a", "a", 7, nil},
		{"a", "b", 0, []string{"durable"}},
		{"b", "b", 7, nil},
		{"", "b", 7, nil}, // an engine of an earlier build, or one that does not know it yet
		{"a", "b", 0, []string{"durable"}},
		{"a", "", 7, nil},
	} {
		theirs.Store(step.theirs)
		mine.Store(step.mine)
		harness.Eventually(t, "the position follows the store", func() bool {
			return at["durable"].At(0) == step.durable && at["hot"].At(0) == 7 && slices.Equal(reader.Elsewhere(), step.elsewhere)
		})
	}
}
