package pg_test

import (
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestUnlimited: neither the server nor the client ends a statement that takes long, and the
// connections of the pool keep their limits.
func TestUnlimited(t *testing.T) {
	db, err := pg.Open(support.Postgres(t) + "&pool_max_conns=3")
	harness.Must(t, err)
	defer db.Close()
	limits := func(c *pg.Conn) (statement, lock string) {
		harness.Must(t, c.QueryRow(t.Context(), `SELECT current_setting('statement_timeout'), current_setting('lock_timeout')`).Scan(&statement, &lock))
		return statement, lock
	}
	harness.Must(t, db.Unlimited(t.Context(), time.Second, func(c *pg.Conn) error {
		if statement, lock := limits(c); statement != "0" || lock != "1s" || c.Limited(t.Context()) {
			t.Errorf("a statement may take %s, a lock %s, and the client's limit is %t", statement, lock, c.Limited(t.Context()))
		}
		return nil
	}))
	for range 3 {
		c, err := db.Pool().Acquire(t.Context())
		harness.Must(t, err)
		defer c.Release()
		if statement, lock := limits(c); statement != "15s" || lock != "5s" || !c.Limited(t.Context()) {
			t.Errorf("in the pool a statement may take %s, a lock %s, and the client's limit is %t", statement, lock, c.Limited(t.Context()))
		}
	}
}
