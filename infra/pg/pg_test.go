package pg_test

import (
	"context"
	"errors"
	"fmt"
	neturl "net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
	"github.com/tidemark-engine/tidemark/test/support"
)

// Several engines may start on one database.
func TestMigrateConcurrently(t *testing.T) {
	url := support.Postgres(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			db, err := pg.Open(url)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := db.Migrate(t.Context(), harness.Log(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	db, err := pg.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), harness.Log(t)); err != nil {
		t.Errorf("second migration: %v", err)
	}
	if n := pgtest.Count(t, db, "SELECT count(*) FROM agents.state"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// Between two migrations the tables fit no build: nothing of an engine may use them.
func TestNothingUsesAHalfMigratedSchema(t *testing.T) {
	url := support.Postgres(t)
	db, err := pg.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, pg.GooseLock); err != nil {
		t.Fatal(err)
	}
	db.WaitForMigrations()
	migrated := make(chan error)
	go func() { migrated <- db.Migrate(t.Context(), harness.Log(t)) }()
	harness.Eventually(t, "the migration waits for the lock", func() error {
		if db.Pool().Stat().AcquiredConns() == 0 {
			return errors.New("it does not use the pool yet")
		}
		return nil
	})
	uses := map[string]func() error{
		"Exec":      func() error { _, err := db.Pool().Exec(t.Context(), `SELECT 1`); return err },
		"QueryRow":  func() error { _, err := db.Positions(t.Context()); return err },
		"InTx":      func() error { return db.InTx(t.Context(), func(pgx.Tx) error { return nil }) },
		"Ping":      func() error { return db.Ping(t.Context()) },
		"Unlimited": func() error { return db.Unlimited(t.Context(), 0, func(*pg.Conn) error { return nil }) },
	}
	for name, use := range uses {
		if err := use(); !errors.Is(err, pg.ErrNotMigrated) {
			t.Errorf("%s before the migrations are complete: %v", name, err)
		}
	}
	if _, err := conn.Exec(t.Context(), `SELECT pg_advisory_unlock($1)`, pg.GooseLock); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	for name, use := range uses {
		if err := use(); err != nil {
			t.Errorf("%s after the migrations: %v", name, err)
		}
	}
}

func TestSessionsHaveTimeouts(t *testing.T) {
	db := pgtest.Migrated(t)
	for name, want := range map[string]string{
		"statement_timeout": "15s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "10s", "timezone": "UTC",
		"application_name": "tidemark", "synchronous_commit": "on",
	} {
		var got string
		if err := db.Pool().QueryRow(t.Context(), "SHOW "+name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", name, got, err, want)
		}
	}
}

func TestURLSettingsOverrideDefaults(t *testing.T) {
	db, err := pg.Open(support.Postgres(t) + "&statement_timeout=7s&application_name=mine")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var timeout, name string
	err = db.Pool().QueryRow(t.Context(), "SELECT current_setting('statement_timeout'), current_setting('application_name')").Scan(&timeout, &name)
	if err != nil || timeout != "7s" || name != "mine" {
		t.Errorf("%s, %s, %v", timeout, name, err)
	}
}

func TestErrorsRedactThePassword(t *testing.T) {
	for _, url := range []string{
		"postgres://u:geheim@127.0.0.1:1/db?sslmode=nonsense", "postgres://u:geheim@127.0.0.1:x/db", "user=u password=geheim sslmode=nonsense",
		"postgres://u:geheim@127.0.0.1:1/db?sslmode=disable", "postgres://127.0.0.1:1/db?user=u&password=geheim&sslmode=nonsense",
		"postgres://u:a/geheim@127.0.0.1:1/db", "postgres://127.0.0.1:x/db?password=geheim", "host=127.0.0.1 port=x password='geheim'",
		"postgres://127.0.0.1:1/db?password=geheim&pool_max_conns=x",
	} {
		db, err := pg.Open(url)
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			err = db.Ping(ctx)
			cancel()
			db.Close()
		}
		if err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%v", err)
		}
	}
}

func TestPing(t *testing.T) {
	if err := pgtest.Migrated(t).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSettingsOfTheRole: defaults of the server, the database or the role change no answer.
func TestSettingsOfTheRole(t *testing.T) {
	t.Parallel()
	url := support.Postgres(t)
	admin, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	for name, value := range map[string]string{
		"client_encoding": "LATIN1", "standard_conforming_strings": "off", "default_transaction_isolation": "serializable", "default_transaction_deferrable": "on",
		"datestyle": "German, DMY", "intervalstyle": "sql_standard", "bytea_output": "escape", "extra_float_digits": "-15",
		"transform_null_equals": "on", "search_path": "", "timezone": "Asia/Kolkata", "backslash_quote": "off",
	} {
		_, err := admin.Exec(t.Context(), fmt.Sprintf(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s = %%L', current_database(), '%s'); END $$`, name, value))
		if err != nil {
			t.Fatal(name, err)
		}
	}
	db, err := pg.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), harness.Log(t)); err != nil {
		t.Fatal(err)
	}
	const text = `Łódź 日本 \ ' " 🎉`
	var got, level string
	if err := db.Pool().QueryRow(t.Context(), `SELECT $1::text, current_setting('transaction_isolation')`, text).Scan(&got, &level); err != nil || got != text || level != "read committed" {
		t.Errorf("%q, %q, %v", got, level, err)
	}
}

// TestEncodingOfTheDatabase: a database that cannot keep every value is refused, and the
// refusal says what is needed.
func TestEncodingOfTheDatabase(t *testing.T) {
	t.Parallel()
	url := support.Postgres(t)
	admin, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		name := admin.Config().Database + "_" + strings.ToLower(encoding)
		if _, err := admin.Exec(t.Context(), fmt.Sprintf("CREATE DATABASE %s ENCODING '%s' LOCALE 'C' TEMPLATE template0", pgx.Identifier{name}.Sanitize(), encoding)); err != nil {
			t.Fatal(err)
		}
		u, err := neturl.Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + name
		db, err := pg.Open(u.String())
		if err != nil {
			t.Fatal(err)
		}
		var unsuitable *pg.Unsuitable
		if err := db.Migrate(t.Context(), harness.Log(t)); !errors.As(err, &unsuitable) || !strings.Contains(err.Error(), "UTF8") || !strings.Contains(err.Error(), encoding) {
			t.Errorf("%s: %v", encoding, err)
		}
		db.Close()
		_, _ = admin.Exec(t.Context(), "DROP DATABASE "+pgx.Identifier{name}.Sanitize())
	}
}

// TestPositions: every view's positions, by partition.
func TestPositions(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	_, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.checkpoints (view, partition, position, incarnation)
		VALUES ('archive', 0, 7, 'j'), ('durable', 2, 5, 'j'), ('durable', 0, 4, 'j')`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := db.Positions(t.Context())
	if want := map[string][]uint64{"archive": {7}, "durable": {4, 0, 5}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
