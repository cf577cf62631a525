package durable

import (
	"context"
	"errors"
	"testing"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// A suspended rebuild cannot write after another one has started.
func TestShadowReplaced(t *testing.T) {
	ctx := t.Context()
	db, err := pg.Open(support.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(ctx, harness.Log(t)); err != nil {
		t.Fatal(err)
	}
	first, err := NewShadow(ctx, db, "durable", "j", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewShadow(ctx, db, "durable", "j", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	swap := rebuild.Swap{At: []uint64{0}, Journal: "j", Version: 1, CompareAll: true,
		CatchUp: func(context.Context, []uint64, rebuild.Write) ([]rebuild.RowKey, error) { return nil, nil },
	}
	if err := first.Apply(ctx, 0, 0, 5, projections.Changes{}); !errors.Is(err, errReplaced) {
		t.Errorf("the replaced shadow applied events: %v", err)
	}
	if _, err := first.Swap(ctx, swap); !errors.Is(err, errReplaced) {
		t.Errorf("the replaced shadow swapped: %v", err)
	}
	if err := second.Apply(ctx, 0, 0, 5, projections.Changes{}); err != nil {
		t.Errorf("the second shadow did not apply events: %v", err)
	}
	swap.At = []uint64{5}
	if done, err := second.Swap(ctx, swap); err != nil || done.Position[0] != 5 {
		t.Errorf("the second shadow did not swap: %v %v", done, err)
	}
	if err := second.Drop(ctx); err != nil {
		t.Error(err)
	}
	if err := first.Apply(ctx, 0, 0, 5, projections.Changes{}); !errors.Is(err, errReplaced) {
		t.Errorf("a dropped shadow applied events: %v", err)
	}
}
