package durable_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

func TestOutdated(t *testing.T) {
	v := durable.New(pgtest.Migrated(t), "durable")
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	var c projections.Changes
	for key, age := range map[string]time.Duration{"n.1": 5, "n.2": 9, "n.3": 1, "n.keep.1": 9, "n.long.1": 9, "N.1": 9, "nx": 9} {
		c.Entries = append(c.Entries, readmodel.EntryChange{Entry: readmodel.Entry{
			Agent: "a", Key: key, Value: []byte(`1`), Version: 3, Revision: uint64(len(c.Entries) + 1), UpdatedAt: now.Add(-age * time.Hour), Digest: "d",
		}})
	}
	if err := v.Apply(t.Context(), 0, 0, 7, c); err != nil {
		t.Fatal(err)
	}
	for range 2 { // without the indexes and with them
		for _, c := range []struct {
			prefix string
			except []string
			limit  int
			want   string
		}{
			{"n.", []string{"n.keep.", "n.long."}, 10, "n.2 n.1"},
			{"n.", []string{"n.keep.", "n.long."}, 1, "n.2"},
			{"n.long.", nil, 10, "n.long.1"},
			{"", []string{"n", "N."}, 10, ""},
		} {
			old, err := v.Outdated(t.Context(), c.prefix, c.except, now.Add(-4*time.Hour), c.limit)
			var keys []string
			for _, e := range old {
				if keys = append(keys, e.Key); e.Agent != "a" || e.Version != 3 || !e.WrittenAt.Before(now.Add(-4*time.Hour)) {
					t.Errorf("%+v", e)
				}
			}
			if got := strings.Join(keys, " "); err != nil || got != c.want {
				t.Errorf("%+v: %s %v", c, got, err)
			}
		}
		if _, done, err := v.IndexRetention(t.Context(), []string{"n.", "n.long.", ""}); !done || err != nil {
			t.Error(done, err)
		}
	}
}
