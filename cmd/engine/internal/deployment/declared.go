package deployment

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	viewkv "github.com/tidemark-engine/tidemark/infra/natsio/declared"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/projections/verify"
	rows "github.com/tidemark-engine/tidemark/readmodel/declared"
)

// DeclaredViews are the names of the declared views that have rows, without the prefix.
func (s *Stores) DeclaredViews(ctx context.Context) (names []string, err error) {
	gs, err := declared.NewStore(s.DB).All(ctx)
	for i := range gs {
		if gs[i].Live {
			names = append(names, gs[i].View)
		}
	}
	slices.Sort(names)
	return names, err
}

// rebuildingPoll is the interval at which the progress of a declared view's rebuild is read.
const rebuildingPoll = 50 * time.Millisecond

// rebuildDeclared lets the running engine fold a declared view again into tables beside
// the live ones, which they replace. accept makes this journal the view's, whichever it was.
func (s *Stores) rebuildDeclared(ctx context.Context, name string, accept bool, step func(rebuild.Step)) (n int64, err error) {
	store := declared.NewStore(s.DB)
	live, err := store.Live(ctx, name)
	if err != nil {
		return 0, err
	}
	if live == nil {
		return 0, fmt.Errorf("there is no declared view %s, or its first rows are being built: engine view list", name)
	}
	heads := make([]uint64, s.Journal.Partitions())
	of := uint64(0)
	for p := range heads {
		if heads[p], err = s.Journal.Head(ctx, p); err != nil {
			return 0, err
		}
		of += heads[p]
	}
	if err := store.Create(ctx, live.Definition, s.Journal.ID(), heads, accept); err != nil {
		return 0, err
	}
	for {
		gs, err := store.All(ctx)
		if err != nil {
			return 0, err
		}
		building, done := false, false
		for i := range gs {
			switch g := &gs[i]; {
			case g.View != name:
			case g.Live:
				done = g.ID > live.ID
			default:
				building = true
				at, err := store.Positions(ctx, g)
				if err != nil {
					return 0, err
				}
				step(rebuild.Step{Name: "fold", Events: sum(at), Of: max(of, sum(at))})
			}
		}
		switch {
		case done:
			return store.Count(ctx, name)
		case !building:
			return 0, fmt.Errorf("the view %s was removed or defined otherwise while it was rebuilt", name)
		}
		if err := wait.Sleep(ctx, rebuildingPoll); err != nil {
			return 0, err
		}
	}
}

func sum(all []uint64) (n uint64) {
	for _, one := range all {
		n += one
	}
	return n
}

// bucketTries is how often a bucket that differs is read again: its rows follow the table.
const (
	bucketTries = 20
	bucketPause = 250 * time.Millisecond
)

// verifyDeclared compares every declared view with a fold of the history up to its
// position, and its bucket with its table.
func (s *Stores) verifyDeclared(ctx context.Context, nc *nats.Conn, held []quarantine.Entry) ([]declared.Verified, []verify.Difference, error) {
	store := declared.NewStore(s.DB)
	all, err := viewkv.New(nc, false)
	if err != nil {
		return nil, nil, err
	}
	v := declared.Verifier{
		Store: store, Source: s.History(),
		Exclude: func(view string, name events.AggregateName, revision uint64) bool {
			return slices.ContainsFunc(held, func(h quarantine.Entry) bool {
				return h.View == view && h.Stream == name && h.Journal == s.Journal.ID() && h.Excludes(revision)
			})
		},
		Bucket: func(ctx context.Context, shot *declared.Snapshot) (wrong []rows.Mismatch, err error) {
			if !shot.Definition.In("kv") {
				return nil, nil
			}
			bucket := all.Of(shot.Definition.Bucket())
			for range bucketTries {
				got, err := bucket.All(ctx)
				if err != nil {
					return nil, err
				}
				now, ok, err := store.Snapshot(ctx, shot.View)
				if err != nil || !ok {
					return nil, err
				}
				if wrong = now.Differ(got, bucket.Largest()); len(wrong) == 0 && len(now.Pending) == 0 {
					break
				}
				if err := wait.Sleep(ctx, bucketPause); err != nil {
					return nil, err
				}
			}
			return wrong, nil
		},
	}
	return v.Run(ctx)
}
