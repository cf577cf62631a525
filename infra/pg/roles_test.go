package pg_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// engineRole is the engine's role in the managed cluster.
const engineRole = "tidemark"

// Each role has the rights of the contract (section 4) and no others: on every table,
// for what it may create, and on the files and programs of the server.
func TestRolesHaveTheirRightsAlone(t *testing.T) {
	admin := support.Postgres(t)
	run(t, admin, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO `+engineRole+`', current_database()); END $$`)
	db, err := pg.Open(admin + "&role=" + engineRole)
	harness.Must(t, err)
	defer db.Close()
	harness.Must(t, db.Migrate(t.Context(), harness.Log(t)))
	harness.Must(t, db.Grant(t.Context(), harness.Log(t)))
	run(t, admin+"&role="+engineRole, `CREATE TABLE agents.made_later (id int)`) // a partition, a declared view

	rows, err := db.Pool().Query(t.Context(), `
		SELECT r, c.relname, p, has_table_privilege(r, c.oid, p)
		FROM pg_class c, unnest($1::text[]) AS r, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p
		WHERE c.relnamespace = 'agents'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')`, []string{engineRole, pg.ReaderRole, pg.OutboxRole})
	harness.Must(t, err)
	var role, table, privilege string
	var has bool
	checked := 0
	_, err = pgx.ForEachRow(rows, []any{&role, &table, &privilege, &has}, func() error {
		checked++
		may := role == engineRole || role == pg.ReaderRole && privilege == "SELECT" ||
			role == pg.OutboxRole && privilege == "INSERT" && table == "outbox"
		if has != may {
			t.Errorf("%s on %s to %s: %t, want %t", privilege, table, role, has, may)
		}
		return nil
	})
	harness.Must(t, err)
	if checked < 3*7*12 {
		t.Errorf("only %d rights are checked", checked)
	}

	for _, who := range []string{engineRole, pg.ReaderRole, pg.OutboxRole} {
		conn, err := pgx.Connect(t.Context(), admin+"&role="+who)
		harness.Must(t, err)
		defer conn.Close(context.Background())
		try := func(sql string, may bool) {
			t.Helper()
			_, err := conn.Exec(t.Context(), "BEGIN; "+sql+"; ROLLBACK", pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				_, _ = conn.Exec(t.Context(), "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
			}
			if refused := pg.HasSQLState(err, "42501"); may != (err == nil) || !may && !refused {
				t.Errorf("%s: %s: %v", who, sql, err)
			}
		}
		for _, sql := range []string{ // the server's files, programs and roles
			`SELECT pg_read_file('PG_VERSION')`, `SELECT pg_read_binary_file('/etc/passwd')`, `SELECT pg_ls_dir('.')`, `SELECT lo_import('/etc/passwd')`,
			`CREATE TEMP TABLE x (l text); COPY x FROM PROGRAM 'id'`, `COPY (SELECT 1) TO PROGRAM 'cat'`, `COPY (SELECT 1) TO '/tmp/tidemark'`,
			`CREATE TEMP TABLE x (l text); COPY x FROM '/etc/passwd'`, `CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE c AS 'x', 'y'`,
			`CREATE ROLE other`, `ALTER ROLE postgres PASSWORD 'x'`, `GRANT pg_execute_server_program TO ` + who, `CREATE EXTENSION file_fdw`,
			`SELECT rolpassword FROM pg_authid`, `CREATE DATABASE other_database`, `SET session_replication_role = replica`, `LOAD 'auto_explain'`,
		} {
			if strings.HasPrefix(sql, "CREATE DATABASE") { // not inside a transaction
				_, err := conn.Exec(t.Context(), sql)
				if !pg.HasSQLState(err, "42501") {
					t.Errorf("%s: %s: %v", who, sql, err)
				}
				continue
			}
			try(sql, false)
		}
		for _, sql := range []string{ // the engine's own
			`CREATE TABLE agents.x ()`, `CREATE FUNCTION agents.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`, `CREATE SCHEMA agents_next`,
			`DROP TABLE agents.state`, `TRUNCATE agents.outbox`, `ALTER TABLE agents.outbox DISABLE TRIGGER USER`, `LOCK TABLE agents.state IN ACCESS EXCLUSIVE MODE`,
			`UPDATE agents.outbox SET attempts = 0`, `DELETE FROM agents.leases`,
		} {
			try(sql, who == engineRole)
		}
		try(`SELECT FROM agents.state`, who != pg.OutboxRole)
		try(`SELECT FROM agents.made_later`, who != pg.OutboxRole)
		try(fmt.Sprintf(`INSERT INTO agents.outbox (command_id, subject, body) VALUES ('%s', 'agent.a.set', '{}')`, who), who != pg.ReaderRole)
		try(`CREATE TABLE public.x ()`, who == engineRole)
	}
}
