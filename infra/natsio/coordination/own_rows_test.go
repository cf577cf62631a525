package coordination_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// TestPositionsOfACopy: a store that is a copy of the other engine's, also an empty one, never
// counts beyond its own rows, not for a moment. One that has followed the engine counts at once,
// until another engine publishes.
func TestPositionsOfACopy(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	reader := coordination.NewProgressBroadcast(nc, natsio.NewSubjects(""))
	own := projections.NewProgress(1)
	stop, err := reader.FollowRows("durable", own)
	harness.Must(t, err)
	defer stop()
	var rows, asked atomic.Uint64
	go reader.CompareRows(t.Context(), func(context.Context) (map[string][]uint64, error) {
		asked.Add(1)
		return map[string][]uint64{"durable": {rows.Load()}}, nil
	})
	publish := func() (*projections.Progress, context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		progress := projections.NewProgress(1)
		go coordination.NewProgressBroadcast(nc, natsio.NewSubjects("")).Publish(ctx, "durable", 0, progress)
		return progress, cancel
	}
	again := func() {
		t.Helper()
		for until := asked.Load() + 2; asked.Load() < until; time.Sleep(time.Millisecond) {
			if at := own.At(0); at > rows.Load() {
				t.Fatalf("position %d counts, and the store has %d", at, rows.Load())
			}
		}
	}
	reach := func(at uint64) {
		t.Helper()
		harness.Eventually(t, "the position counts", func() bool { return own.At(0) == at })
	}
	for _, copied := range []uint64{0, 7} {
		rows.Store(copied)
		other, end := publish()
		other.Set(0, copied)
		again()
		reach(copied)
		other.Set(0, copied+1)
		again()
		rows.Store(copied + 1) // the store is the same one
		reach(copied + 1)
		again()
		reads := asked.Load()
		other.Set(0, copied+2)
		rows.Store(copied + 2)
		harness.Eventually(t, "the position counts at once", func() bool { return own.At(0) == copied+2 || asked.Load() > reads+1 })
		if own.At(0) != copied+2 {
			t.Error("the position counts after a comparison")
		}
		end()
	}
}
