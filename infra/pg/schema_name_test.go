package pg_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
	"github.com/tidemark-engine/tidemark/test/support"
)

// in opens a database with a schema of another name, and migrates it.
func in(t *testing.T, url, schema string) *pg.DB {
	t.Helper()
	db, err := pg.OpenSchema(url, schema)
	harness.Must(t, err)
	t.Cleanup(db.Close)
	harness.Must(t, db.Migrate(t.Context(), harness.Log(t)))
	return db
}

// Only the schema's name is replaced in a statement, not what clients chose.
func TestTheSchemaIsNamedInStatements(t *testing.T) {
	db, err := pg.OpenSchema("postgres://127.0.0.1:1/x", "my_agents")
	harness.Must(t, err)
	defer db.Close()
	for statement, want := range map[string]string{
		`SELECT agents.f(s) FROM agents.state s`:                   `SELECT my_agents.f(s) FROM my_agents.state s`,
		`FROM agents_next.state n, agents_plan.a, agents_repair.b`: `FROM my_agents_next.state n, my_agents_plan.a, my_agents_repair.b`,
		`DROP SCHEMA IF EXISTS agents_next CASCADE`:                `DROP SCHEMA IF EXISTS my_agents_next CASCADE`,
		`ALTER TABLE x SET SCHEMA agents;`:                         `ALTER TABLE x SET SCHEMA my_agents;`,
		`FROM "agents"."view_x", "agents_next"."view_x"`:           `FROM "my_agents"."view_x", "my_agents_next"."view_x"`,
		`'agents.state'::regclass, 'agents_next'::regnamespace`:    `'my_agents.state'::regclass, 'my_agents_next'::regnamespace`,
		`to_regclass('agents.' || $1)`:                             `to_regclass('my_agents.' || $1)`,
		`('agents_repair.' || $1)::regclass`:                       `('my_agents_repair.' || $1)::regclass`,
		"-- it's of agents.state\nFROM agents.x":                   "-- it's of agents.state\nFROM my_agents.x",
	} {
		if got := db.In(statement); got != want || db.In(got) != want {
			t.Errorf("%s becomes %s, and again %s", statement, got, db.In(got))
		}
	}
	for _, statement := range []string{
		`starts_with(state_key, 'agents.')`, `'agents.x'`, `'it''s agents.x'`, `agents_nextgen.x`, `other_agents.x`, `SELECT agents FROM x`,
		`SELECT 'agents_of' || x`, `"agents" = 1`, `agents_of_j.events`, `'agentsx.' || y`, "'agents.", `"agents.`,
	} {
		if got := db.In(statement); got != statement {
			t.Errorf("%s becomes %s", statement, got)
		}
	}
}

// The words that cannot name a schema are those of PostgreSQL.
func TestReservedWordsNameNoSchema(t *testing.T) {
	db := pgtest.Migrated(t)
	rows, err := db.Pool().Query(t.Context(), `SELECT word::text, catcode IN ('R', 'T') FROM pg_get_keywords() WHERE word !~ '_of_|(_next|_plan|_repair)$'`)
	harness.Must(t, err)
	var word string
	var reserved bool
	_, err = pgx.ForEachRow(rows, []any{&word, &reserved}, func() error {
		if err := pg.CheckSchemaName(word); reserved == (err == nil) {
			t.Errorf("%s is taken for a name", word)
		}
		return nil
	})
	harness.Must(t, err)
	for name, right := range map[string]bool{
		"agents": true, "team_7": true, "_x": true, strings.Repeat("a", 32): true, strings.Repeat("a", 33): false, "": false, "7x": false, "Team": false,
		"a-b": false, `a"b`: false, "a.b": false, "ä": false, "public": false, "pg_x": false, "information_schema": false, "a_next": false, "a_plan": false,
		"a_repair": false, "a_of_b": false, "user": false,
	} {
		if err := pg.CheckSchemaName(name); (err == nil) != right {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Two engines may keep their tables in one database. Neither waits for the other, sees
// the other's damage, or gives its readers rights on the other's tables.
func TestTwoSchemasInOneDatabase(t *testing.T) {
	admin := support.Postgres(t)
	one, two := in(t, admin, "agents"), in(t, admin, "user_side")
	for _, db := range []*pg.DB{one, two} {
		harness.Must(t, db.Grant(t.Context(), harness.Log(t)))
	}
	tables := func(db *pg.DB) []string {
		rows, err := db.Pool().Query(t.Context(), `SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY 1`, db.Schema())
		harness.Must(t, err)
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		harness.Must(t, err)
		return names
	}
	if a, b := tables(one), tables(two); !slices.Equal(a, b) || len(a) < 12 {
		t.Errorf("tables of agents %v, of the other %v", a, b)
	}

	run(t, admin, `DROP TABLE user_side.state, user_side.outbox`)
	if damage, err := one.Damage(t.Context()); err != nil || len(damage) > 0 {
		t.Errorf("damage of agents: %v, %v", damage, err)
	}
	if damage, err := two.Damage(t.Context()); err != nil || !slices.Equal(damage, []string{"user_side.outbox", "user_side.state"}) {
		t.Errorf("damage of the other: %v, %v", damage, err)
	}
	harness.Must(t, two.Repair(t.Context(), "durable", harness.Log(t)))
	if damage, err := two.Damage(t.Context()); err != nil || len(damage) > 0 {
		t.Errorf("damage after the repair: %v, %v", damage, err)
	}
	harness.Must(t, two.Grant(t.Context(), harness.Log(t)))

	held, err := pgx.Connect(t.Context(), admin)
	harness.Must(t, err)
	defer held.Close(context.Background())
	_, err = held.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, one.LockKey(0x7469_6465_7363_6865))
	harness.Must(t, err)
	harness.Must(t, two.Migrate(t.Context(), harness.Log(t)))
	if one.LockKey(7) != 7 || two.LockKey(7) == 7 {
		t.Error("the locks of the two are the same")
	}

	for _, c := range []struct {
		role, sql string
		may       bool
	}{
		{"tidemark_reader", `SELECT FROM agents.state`, true}, {"tidemark_reader", `SELECT FROM user_side.state`, false},
		{"tidemark_reader_user_side", `SELECT FROM user_side.state`, true}, {"tidemark_reader_user_side", `SELECT FROM agents.state`, false},
		{"tidemark_outbox_user_side", `INSERT INTO user_side.outbox (command_id, subject) VALUES ('x', 'agent.a.set')`, true},
		{"tidemark_outbox_user_side", `INSERT INTO agents.outbox (command_id, subject) VALUES ('x', 'agent.a.set')`, false},
		{"tidemark_outbox", `INSERT INTO user_side.outbox (command_id, subject) VALUES ('y', 'agent.a.set')`, false},
		{"tidemark_outbox_user_side", `SELECT FROM user_side.state`, false},
	} {
		conn, err := pgx.Connect(t.Context(), admin+"&role="+c.role)
		harness.Must(t, err)
		_, err = conn.Exec(t.Context(), c.sql)
		if c.may != (err == nil) || !c.may && !pg.HasSQLState(err, "42501") {
			t.Errorf("%s: %s: %v", c.role, c.sql, err)
		}
		harness.Must(t, conn.Close(t.Context()))
	}
}

// Roles belong to the whole server: engines that start at once may create them.
func TestRolesAreCreatedAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		db := in(t, support.Postgres(t), "crowd")
		wg.Go(func() {
			if err := db.Grant(t.Context(), harness.Log(t)); err != nil {
				t.Error(err)
			}
			var may bool
			err := db.Pool().QueryRow(t.Context(), `SELECT has_table_privilege('tidemark_reader_crowd', 'crowd.state', 'SELECT')`).Scan(&may)
			if err != nil || !may {
				t.Errorf("the reader may read: %t, %v", may, err)
			}
		})
	}
	wg.Wait()
}

// The engine moves into a schema that is empty or its own, not among other tables.
func TestASchemaOfOthersIsRefused(t *testing.T) {
	for i, c := range []struct{ sql, refused string }{
		{`CREATE SCHEMA shop`, ""}, {`CREATE SCHEMA shop; CREATE TABLE shop.events (id int)`, "shop has tables"},
	} {
		admin := support.Postgres(t)
		run(t, admin, c.sql)
		db, err := pg.OpenSchema(admin, "shop")
		harness.Must(t, err)
		err = db.Migrate(t.Context(), harness.Log(t))
		var unsuitable *pg.Unsuitable
		if c.refused == "" && err != nil || c.refused != "" && (!errors.As(err, &unsuitable) || !strings.Contains(fmt.Sprint(err), c.refused)) {
			t.Errorf("case %d: %v", i, err)
		}
		db.Close()
	}
}
