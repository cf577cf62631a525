package coordination_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestPositionsOfAnotherStore: a position of another engine counts as far as the rows of it
// are in this engine's store, and not before that was asked.
func TestPositionsOfAnotherStore(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	holder := coordination.NewProgressBroadcast(nc, natsio.NewSubjects(""))
	reader := coordination.NewProgressBroadcast(nc, natsio.NewSubjects(""))
	at := map[string]*projections.Progress{"durable": projections.NewProgress(2), "archive": projections.NewProgress(2), "hot": projections.NewProgress(2)}
	for view, own := range at {
		progress := projections.NewProgress(2)
		progress.Set(0, 7)
		progress.Set(1, 9)
		for p := range 2 {
			go holder.Publish(t.Context(), view, p, progress)
		}
		follow := reader.FollowRows
		if view == "hot" {
			follow = reader.Follow
		}
		stop, err := follow(view, own)
		harness.Must(t, err)
		defer stop()
	}
	var mu sync.Mutex
	var rows map[string][]uint64
	go reader.CompareRows(t.Context(), func(context.Context) (map[string][]uint64, error) {
		mu.Lock()
		defer mu.Unlock()
		if rows == nil {
			return nil, errors.New("the store is away")
		}
		return rows, nil
	})
	positions := func(view string) []uint64 { return []uint64{at[view].At(0), at[view].At(1)} }
	for _, step := range []struct {
		rows             map[string][]uint64
		durable, archive []uint64
		elsewhere        []string
	}{
		{nil, []uint64{0, 0}, []uint64{0, 0}, nil},
		{map[string][]uint64{"durable": {7, 9}, "archive": {7, 9}}, []uint64{7, 9}, []uint64{7, 9}, nil},
		{map[string][]uint64{"durable": {7, 9}, "archive": {8, 12}}, []uint64{7, 9}, []uint64{7, 9}, nil},
		{map[string][]uint64{"durable": {7, 9}, "archive": {7, 8}}, []uint64{7, 9}, []uint64{7, 8}, []string{"archive"}},
		{map[string][]uint64{"durable": {3}}, []uint64{3, 0}, []uint64{0, 0}, []string{"archive", "durable"}},
		{nil, []uint64{3, 0}, []uint64{0, 0}, []string{"archive", "durable"}}, // the store is away: what was found last
		{map[string][]uint64{"durable": {7, 9}, "archive": {7, 9}}, []uint64{7, 9}, []uint64{7, 9}, nil},
	} {
		mu.Lock()
		rows = step.rows
		mu.Unlock()
		harness.Eventually(t, "the positions follow the rows", func() bool {
			return slices.Equal(positions("hot"), []uint64{7, 9}) && slices.Equal(positions("durable"), step.durable) &&
				slices.Equal(positions("archive"), step.archive) && slices.Equal(reader.Elsewhere(), step.elsewhere)
		})
	}
}
