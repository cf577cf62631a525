package outbox_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/outbox"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// TestRowsOfAnotherRole: the rows of one application do not wait for all rows of another one, but
// for those of the same aggregate.
func TestRowsOfAnotherRole(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	harness.Must(t, db.Grant(t.Context(), harness.Log(t)))
	conn, err := db.Pool().Acquire(t.Context())
	harness.Must(t, err)
	defer conn.Release()
	insert := func(role, sql string) {
		t.Helper()
		exec(t, db, `DO $$ BEGIN CREATE ROLE `+role+` IN ROLE `+pg.OutboxRole+`; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
		for _, sql := range []string{`SET SESSION AUTHORIZATION ` + role, `INSERT INTO agents.outbox (command_id, subject) ` + sql, `RESET SESSION AUTHORIZATION`} {
			_, err := conn.Exec(t.Context(), sql)
			harness.Mustf(t, err, "%s", sql)
		}
	}
	var mu sync.Mutex
	var began []string
	var held []func()
	holding := true
	o := &outbox.Outbox{
		DB: db, Prefix: "tm.", BodyBytes: 1000, Log: harness.Log(t),
		Caller: func(role string, _ bool) *identity.Caller { return &identity.Caller{Principal: role} },
		Handle: func(ctx context.Context, req commands.Request, done func(commands.Receipt, error)) {
			mu.Lock()
			defer mu.Unlock()
			began = append(began, req.CommandID)
			end := func() { done(commands.Receipt{CommandID: req.CommandID, Outcome: domain.Accepted}, nil) }
			if !holding {
				end()
				return
			}
			held = append(held, end)
		},
	}
	release := func() {
		mu.Lock()
		defer mu.Unlock()
		holding = false
		for _, end := range held {
			end()
		}
		held = nil
	}
	started := func(prefix string) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, id := range began {
			if len(id) > len(prefix) && id[:len(prefix)] == prefix {
				n++
			}
		}
		return n
	}
	const places = 400 // two reads of 200 rows fill the 256 places
	insert("outbox_flood", `SELECT 'flood' || n, 'agent.f' || n || '.set' FROM generate_series(1, 1000) AS n`)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	defer running.Wait()
	defer cancel()
	defer release()
	harness.Eventually(t, "all places are taken", func() bool { return started("flood") == places })

	insert("outbox_quiet", `SELECT 'shared' || n, 'tm.commands.agent.f' || n || '.set' FROM generate_series(991, 1000) AS n`)
	insert("outbox_quiet", `SELECT 'quiet' || n, 'agent.q' || n || '.set' FROM generate_series(1, 40) AS n`)
	harness.Eventually(t, "rows of the other role execute", func() bool { return started("quiet") == 16 })
	insert("outbox_third", `VALUES ('third1', 'agent.third.set')`)
	harness.Eventually(t, "the row of a third role executes", func() bool { return started("third") == 1 })
	time.Sleep(300 * time.Millisecond)
	if n, shared := started("quiet"), started("shared"); n != 16 || shared != 0 || started("flood") != places {
		t.Errorf("%d, %d and %d rows execute", n, shared, started("flood"))
	}

	release()
	relayed(t, db, 0)
	mu.Lock()
	defer mu.Unlock()
	for n := 991; n <= 1000; n++ {
		if slices.Index(began, fmt.Sprint("shared", n)) < slices.Index(began, fmt.Sprint("flood", n)) {
			t.Errorf("row shared%d came before flood%d", n, n)
		}
	}
	if slices.Sort(began); len(slices.Compact(began)) != 1051 {
		t.Errorf("%d rows were executed", len(began))
	}
}
