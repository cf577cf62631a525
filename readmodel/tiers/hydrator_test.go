package tiers

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// slowStores are an agent's rows in SQL and an empty bucket that takes a second for each.
type slowStores struct {
	*fakeJournal
	rows   []readmodel.Entry
	filled atomic.Int64
}

func (s *slowStores) Last(_ context.Context, _, key string) (readmodel.Entry, bool, uint64, error) {
	return readmodel.Entry{Key: key, Revision: 1}, true, 1, nil
}

func (s *slowStores) After(context.Context, string, uint64) (all []readmodel.EntryChange, err error) {
	for i := range s.rows {
		all = append(all, readmodel.EntryChange{Entry: s.rows[i]})
	}
	return all, nil
}

func (s *slowStores) Fill(ctx context.Context, _ *readmodel.Entry) error {
	select {
	case <-time.After(time.Second):
		s.filled.Add(1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slowStores) Has(context.Context, string, []string) (map[string]bool, error) { return nil, nil }
func (s *slowStores) Evict(context.Context, string) error                            { return nil }

func (s *slowStores) Keep(_ context.Context, _ string, keys []string) (map[string]bool, error) {
	missing := map[string]bool{}
	for _, key := range keys {
		missing[key] = true
	}
	return missing, nil
}

func (s *slowStores) Entries(_ context.Context, _ int, _, _, after string, limit int) ([]readmodel.Entry, uint64, error) {
	from := 0
	for from < len(s.rows) && s.rows[from].Key <= after {
		from++
	}
	return s.rows[from:min(from+limit, len(s.rows))], 1, nil
}

func (s *slowStores) Flush(context.Context, []readmodel.EntryChange) error { return nil }

// An agent with more rows than the bucket takes in a minute is hydrated, from either store,
// and is kept.
func TestAgentsWithManyEntriesAreHydrated(t *testing.T) {
	const entries = 5000
	for _, c := range []struct {
		name string
		sql  bool
		keep bool
	}{{"from SQL", true, false}, {"from the journal", false, false}, {"kept", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowStores{fakeJournal: &fakeJournal{}}
				for i := range entries {
					s.rows = append(s.rows, readmodel.Entry{Agent: "a", Key: "k" + strconv.Itoa(100_000+i), Revision: 1})
				}
				h := &Hydrator{Journal: s, Hot: s, DurableProgress: &fakeProgress{}}
				if c.sql {
					h.Durable = s
				}
				var err error
				var keys []string
				if c.keep {
					err = h.Keep(t.Context(), "a")
				} else if keys, err = h.Hydrate(t.Context(), "a"); len(keys) != entries {
					t.Errorf("%d keys are hydrated", len(keys))
				}
				if n := s.filled.Load(); err != nil || n != entries {
					t.Errorf("%d of %d rows are in the bucket, %v", n, entries, err)
				}
			})
		})
	}
}
