package pg_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// What is removed from the schema agents is noticed and made again, and the view
// that fills a table begins again.
func TestRemovedTablesAreMadeAgain(t *testing.T) {
	db := pgtest.Migrated(t)
	if damage, err := db.Damage(t.Context()); err != nil || len(damage) > 0 {
		t.Fatalf("a new schema is damaged: %v, %v", damage, err)
	}
	indexes := func() int {
		return pgtest.Count(t, db, `SELECT count(*) FROM pg_indexes WHERE schemaname = 'agents'`) +
			pgtest.Count(t, db, `SELECT count(*) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'agents'::regnamespace)`) +
			pgtest.Count(t, db, `SELECT count(*) FROM pg_constraint WHERE connamespace = 'agents'::regnamespace`)
	}
	before := indexes()
	for _, c := range []struct {
		sql    string
		damage []string
		resets bool
		fails  string
	}{
		{"DROP TABLE agents.state", []string{"agents.state"}, true, ""},
		{"ALTER TABLE agents.tasks RENAME COLUMN status TO phase", []string{"agents.tasks.status"}, true, ""},
		{"DROP TABLE agents.outbox", []string{"agents.outbox"}, false, ""},
		{"DROP TABLE agents.events, agents.messages", []string{"agents.events", "agents.messages"}, false, ""},
		{"DROP TABLE agents.checkpoints", []string{"agents.checkpoints"}, true, ""},
		{"ALTER TABLE agents.state DROP CONSTRAINT state_pkey", []string{"agents.state.PRIMARY KEY (agent_id, state_key)"}, true, ""},
		{"ALTER TABLE agents.outbox DROP CONSTRAINT outbox_pkey",
			[]string{"agents.outbox.PRIMARY KEY (id)"}, false, ""},
		{"ALTER TABLE agents.events DROP CONSTRAINT events_pkey", []string{"agents.events.PRIMARY KEY (partition, revision, recorded_at)"}, false, ""},
		{"ALTER TABLE agents.messages RENAME COLUMN body_text TO text", []string{"agents.messages.body_text"}, false, "lacks the column body_text"},
	} {
		_, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.checkpoints (view, partition, position, incarnation) VALUES ('durable', 0, 5, 'j') ON CONFLICT DO NOTHING`)
		harness.Must(t, err)
		_, err = db.Pool().Exec(t.Context(), c.sql)
		harness.Must(t, err)
		if damage, err := db.Damage(t.Context()); err != nil || !slices.Equal(damage, c.damage) {
			t.Errorf("%s: %v, %v; want %v", c.sql, damage, err, c.damage)
		}
		err = db.Repair(t.Context(), "durable", harness.Log(t))
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v", c.sql, err)
			}
			continue
		}
		if damage, derr := db.Damage(t.Context()); err != nil || derr != nil || len(damage) > 0 {
			t.Errorf("%s, repaired: %v, %v, %v", c.sql, err, damage, derr)
		}
		if got := indexes(); got != before {
			t.Errorf("%s, repaired: %d indexes, triggers and constraints, want %d", c.sql, got, before)
		}
		if n := pgtest.Count(t, db, `SELECT count(*) FROM agents.checkpoints WHERE view = 'durable'`); n == 0 != c.resets {
			t.Errorf("%s: %d positions of the view", c.sql, n)
		}
	}
}

// The table of applied migrations is made again, whatever else is missing, and a later
// start finds nothing to migrate.
func TestTheTableOfMigrationsIsMadeAgain(t *testing.T) {
	db := pgtest.Migrated(t)
	count := func() int {
		return pgtest.Count(t, db, `SELECT count(DISTINCT version_id) FROM agents.tidemark_schema`)
	}
	before := count()
	for _, sql := range []string{"DROP TABLE agents.tidemark_schema", "DROP TABLE agents.tidemark_schema, agents.state, agents.outbox"} {
		_, err := db.Pool().Exec(t.Context(), sql)
		harness.Must(t, err)
		if damage, err := db.Damage(t.Context()); err != nil || !slices.Contains(damage, "agents.tidemark_schema") {
			t.Errorf("%s: %v, %v", sql, damage, err)
		}
		for range 2 {
			harness.Must(t, db.Migrate(t.Context(), harness.Log(t)))
		}
		if damage, err := db.Damage(t.Context()); err != nil || len(damage) > 0 || count() != before {
			t.Errorf("%s, migrated: %v, %v, %d of %d versions", sql, damage, err, count(), before)
		}
	}
}

// Who truncates a table takes the position of the view that fills it, also in a table that
// was made again.
func TestTruncatedTablesAreFoldedAgain(t *testing.T) {
	db := pgtest.Migrated(t)
	exec := func(sql string) {
		t.Helper()
		_, err := db.Pool().Exec(t.Context(), sql)
		harness.Must(t, err)
	}
	exec("DROP TABLE agents.tasks")
	harness.Must(t, db.Repair(t.Context(), "durable", harness.Log(t)))
	for table, view := range map[string]string{
		"claims": "durable", "config": "durable", "conflicts": "durable", "inboxes": "durable", "lifecycle": "durable", "messages": "messages",
		"reminders": "durable", "sessions": "durable", "state": "durable", "tasks": "durable", "views": "durable",
	} {
		for _, v := range []string{"durable", "messages", "archive"} {
			exec(`INSERT INTO agents.checkpoints (view, partition, position, incarnation) VALUES ('` + v + `', 0, 5, 'j'), ('` + v + `', 1, 5, 'j') ON CONFLICT DO NOTHING`)
		}
		exec("TRUNCATE agents." + table)
		if got := pgtest.Count(t, db, `SELECT count(*) FROM agents.checkpoints WHERE view = '`+view+`'`); got != 0 {
			t.Errorf("after a TRUNCATE of %s the view %s has %d positions", table, view, got)
		}
		if got := pgtest.Count(t, db, `SELECT count(*) FROM agents.checkpoints`); got != 4 {
			t.Errorf("after a TRUNCATE of %s there are %d positions of other views, want 4", table, got)
		}
	}
}
