package pg_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
	"github.com/tidemark-engine/tidemark/test/support"
)

// run executes statements as the administrator of a database.
func run(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	harness.Must(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	harness.Must(t, err)
}

// as is a database's URL for another role with the password x.
func as(t *testing.T, raw, role string) string {
	u, err := url.Parse(raw)
	harness.Must(t, err)
	u.User = url.UserPassword(role, "x")
	return u.String()
}

// The engine's role needs one right: to own the schema agents, or to create it.
// Nothing is made in the schema public.
func TestRights(t *testing.T) {
	for i, c := range []struct{ grant, missing string }{
		{`CREATE SCHEMA agents AUTHORIZATION %s`, ""},
		{`CREATE SCHEMA agents; GRANT CREATE, USAGE ON SCHEMA agents TO %s`, ""},
		{`DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %%I TO %s', current_database()); END $$`, ""},
		{`SELECT '%s'`, "CREATE on the database"},
		{`CREATE SCHEMA agents; GRANT USAGE ON SCHEMA agents TO %s`, "CREATE SCHEMA agents AUTHORIZATION"},
	} {
		admin, role := support.Postgres(t), fmt.Sprint("limited", i)
		run(t, admin, `REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE ROLE `+role+` LOGIN PASSWORD 'x';`+fmt.Sprintf(c.grant, role))
		db, err := pg.Open(as(t, admin, role))
		harness.Must(t, err)
		err = db.Migrate(t.Context(), harness.Log(t))
		db.Close()
		if c.missing != "" {
			if err == nil || !strings.Contains(err.Error(), c.missing) {
				t.Errorf("%s: %v", c.grant, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.grant, err)
		}
	}
}

// The table of applied migrations of an earlier build is moved, and forgotten when
// the schema was dropped.
func TestTheTableOfMigrationsIsMoved(t *testing.T) {
	admin := support.Postgres(t)
	db, err := pg.Open(admin)
	harness.Must(t, err)
	defer db.Close()
	for _, sql := range []string{
		"SELECT", "ALTER TABLE agents.tidemark_schema SET SCHEMA public", "DROP SCHEMA agents CASCADE",
		"ALTER TABLE agents.tidemark_schema SET SCHEMA public; DROP SCHEMA agents CASCADE",
	} {
		run(t, admin, sql)
		if err := db.Migrate(t.Context(), harness.Log(t)); err != nil {
			t.Errorf("after %s: %v", sql, err)
		}
		var own, old bool
		err := db.Pool().QueryRow(t.Context(), `SELECT to_regclass('agents.tidemark_schema') IS NOT NULL AND to_regclass('agents.state') IS NOT NULL,
			to_regclass('public.tidemark_schema') IS NOT NULL`).Scan(&own, &old)
		if err != nil || !own || old {
			t.Errorf("after %s: in agents %t, in public %t, %v", sql, own, old, err)
		}
	}
}

func TestThePoolHasTheSizeInTheURL(t *testing.T) {
	base := support.Postgres(t)
	for url, want := range map[string]int32{base: 16, base + "&pool_max_conns=4": 4, base + "&pool_max_conns=40": 40} {
		db, err := pg.Open(url)
		harness.Must(t, err)
		if got := db.Pool().Config().MaxConns; got != want {
			t.Errorf("%d connections, want %d", got, want)
		}
		db.Close()
	}
	if _, err := pg.Open(base + "&pool_max_conns=2"); err == nil || !strings.Contains(err.Error(), "at least 3") {
		t.Errorf("%v", err)
	}
}

// After a failover the old server takes no writes: its connections are replaced.
func TestReadOnlyConnectionsAreReplaced(t *testing.T) {
	admin := support.Postgres(t)
	db, err := pg.Open(admin + "&pool_max_conns=3")
	harness.Must(t, err)
	defer db.Close()
	harness.Must(t, db.Migrate(t.Context(), harness.Log(t)))
	const write = `INSERT INTO agents.checkpoints (view, partition, position, incarnation) VALUES ('x', 0, 0, '') ON CONFLICT DO NOTHING`
	if _, err := db.Pool().Exec(t.Context(), "SET default_transaction_read_only = on"); err != nil { // the one connection there is
		t.Fatal(err)
	}
	if _, err := db.Pool().Exec(t.Context(), write); err == nil || !pg.HasSQLState(err, "25006") {
		t.Errorf("read-only: %v", err)
	}
	if _, err := db.Pool().Exec(t.Context(), write); err != nil {
		t.Errorf("the connection was not replaced: %v", err)
	}
	_, err = db.Pool().Exec(t.Context(), "SET default_transaction_read_only = on")
	harness.Must(t, err)
	if err := db.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("ping: %v", err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("ping of a new connection: %v", err)
	}
	run(t, admin, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
	db.Pool().Reset()
	if err := db.Ping(t.Context()); err == nil {
		t.Error("a read-only server was accepted")
	}
}

// TestSchemaLockOfAStranger: who may connect to the database cannot keep an engine from starting.
func TestSchemaLockOfAStranger(t *testing.T) {
	db, err := pg.Open(support.Postgres(t))
	harness.Must(t, err)
	t.Cleanup(db.Close)
	pgtest.HoldLock(t, db, 0x7469_6465_7363_6865)
	pgtest.HoldLock(t, db, 4097083626) // of migrations
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	harness.Must(t, db.Migrate(ctx, harness.Log(t)))
	harness.Must(t, db.Grant(t.Context(), harness.Log(t)))
}
