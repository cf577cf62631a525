package durable

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// An engine does not continue rows that a later build has folded.
func TestRowsOfALaterBuild(t *testing.T) {
	ctx := t.Context()
	db, err := pg.Open(support.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(ctx, harness.Log(t)); err != nil {
		t.Fatal(err)
	}
	d := New(db, "durable")
	if _, err := d.Load(ctx, 0, "j"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Pool().Exec(ctx, `UPDATE agents.checkpoints SET version = 99`); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(ctx, 0, "j"); err == nil || !strings.Contains(err.Error(), "older than its views") {
		t.Errorf("load: %v", err)
	}
}
