package outbox_test

import (
	"context"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/outbox"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// TestARowIsFromItsRole: the login role that inserts a row is its sender, which the role
// cannot choose.
func TestARowIsFromItsRole(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	harness.Must(t, db.Grant(t.Context(), harness.Log(t)))
	exec(t, db, `DROP ROLE IF EXISTS outbox_app`)
	exec(t, db, `CREATE ROLE outbox_app IN ROLE `+pg.OutboxRole)
	conn, err := db.Pool().Acquire(t.Context())
	harness.Must(t, err)
	for _, sql := range []string{
		`INSERT INTO agents.outbox (command_id, subject, body) VALUES ('theirs', 'agent.a.set', '{}')`,
		`INSERT INTO agents.outbox (command_id, subject, body, inserted_by) VALUES ('forged', 'agent.a.set', '{}', 'tidemark')`,
	} {
		_, err = conn.Exec(t.Context(), `SET SESSION AUTHORIZATION outbox_app`)
		harness.Must(t, err)
		_, err = conn.Exec(t.Context(), sql)
		harness.Mustf(t, err, "%s", sql)
		_, err = conn.Exec(t.Context(), `RESET SESSION AUTHORIZATION`)
		harness.Must(t, err)
	}
	conn.Release()
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('own', 'agent.b.set', '{}')`)

	senders := make(chan string, 3)
	o := &outbox.Outbox{
		DB: db, BodyBytes: 1000, Log: harness.Log(t),
		Caller: func(role string, own bool) *identity.Caller {
			if own {
				return nil
			}
			return &identity.Caller{Principal: role}
		},
		Handle: func(ctx context.Context, req commands.Request, done func(commands.Receipt, error)) {
			senders <- req.CommandID + " " + identity.Actor(ctx)
			done(commands.Receipt{CommandID: req.CommandID}, nil)
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	defer running.Wait()
	defer cancel()
	got := map[string]bool{}
	for range 3 {
		got[harness.Receive(t, "a row", senders)] = true
	}
	if !got["theirs outbox_app"] || !got["forged outbox_app"] || !got["own "] {
		t.Errorf("%v", got)
	}
	relayed(t, db, 0)
}

// TestApplicationsDoNotCollide: an application can take neither the command ids nor the row ids
// of another one, so that its transactions would fail.
func TestApplicationsDoNotCollide(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	harness.Must(t, db.Grant(t.Context(), harness.Log(t)))
	conn, err := db.Pool().Acquire(t.Context())
	harness.Must(t, err)
	defer conn.Release()
	const theirs = `INSERT INTO agents.outbox (command_id, subject) VALUES ('order-1', 'agent.shop.set')`
	for _, app := range []struct{ role, sql string }{
		{"outbox_hostile", theirs},
		{"outbox_hostile", `INSERT INTO agents.outbox (id, command_id, subject) OVERRIDING SYSTEM VALUE SELECT n, 'x' || n, 'agent.a.set' FROM generate_series(1, 100) AS n`},
		{"outbox_shop", theirs},
	} {
		exec(t, db, `DO $$ BEGIN CREATE ROLE `+app.role+` IN ROLE `+pg.OutboxRole+`; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
		_, err = conn.Exec(t.Context(), `SET SESSION AUTHORIZATION `+app.role)
		harness.Must(t, err)
		if _, err = conn.Exec(t.Context(), app.sql); err != nil {
			t.Errorf("%s: %v", app.role, err)
		}
		_, err = conn.Exec(t.Context(), `RESET SESSION AUTHORIZATION`)
		harness.Must(t, err)
	}
	if n := pgtest.Count(t, db, `SELECT count(*) FROM agents.outbox`); n != 102 {
		t.Errorf("%d rows", n)
	}
}
