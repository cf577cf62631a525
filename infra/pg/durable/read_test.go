package durable_test

import (
	"testing"

	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers/tierstest"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

func TestEntries(t *testing.T) {
	v := durable.New(pgtest.Migrated(t), "durable")
	tierstest.Entries(t, v, func(t *testing.T, partition int, from, to uint64, rows ...readmodel.Entry) {
		if _, err := v.Load(t.Context(), partition, "j"); err != nil {
			t.Fatal(err)
		}
		var c projections.Changes
		for _, e := range rows {
			c.Entries = append(c.Entries, readmodel.EntryChange{Entry: e})
		}
		if err := v.Apply(t.Context(), partition, from, to, c); err != nil {
			t.Fatal(err)
		}
	})
}
