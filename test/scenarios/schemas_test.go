package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// Two engines with journals of their own keep their tables in two schemas of one
// database: each serves its own agents, over a kill, a rebuild and a verify.
func TestTwoSchemasInOneDatabase(t *testing.T) {
	t.Parallel()
	s, err := local.Start(t.Context(), local.Config{
		Dir: filepath.Join(harness.TempDir(t), "pg"), Log: slog.New(slog.DiscardHandler),
		Roles: []string{"tidemark_reader_team_b", "tidemark_outbox_team_b"},
	})
	harness.Must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	a := harness.Start(t, harness.Config{SQL: s.URL()})
	b := harness.New(t, harness.Config{SQL: s.URL(), Env: []string{"TIDEMARK_POSTGRES_SCHEMA=team_b"}})
	for _, name := range []string{"team_next", "public", "pg_team", "table", "Team", ""} {
		if r := harness.Run(t, "serve", "--data", b.Data, "--postgres", s.URL(), "--postgres-schema="+name); r.Code != 2 || !strings.Contains(r.Stderr, "--postgres-schema") {
			t.Errorf("the schema %q: %+v", name, r)
		}
	}
	if _, err := os.Stat(b.Data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a wrong name made the data directory: %v", err)
	}
	b.Restart()

	ca, cb := a.Client(t), b.Client(t)
	for i := range 30 {
		ca.MustDo(t, fmt.Sprintf("agent.x%d.set", i%3), M{"key": "team", "value": "a"})
		cb.MustDo(t, fmt.Sprintf("agent.x%d.set", i%5), M{"key": "team", "value": "b"})
	}
	sql, err := pgx.Connect(t.Context(), s.SuperuserURL())
	harness.Must(t, err)
	defer sql.Close(context.Background())
	for schema, role := range map[string]string{"agents": "tidemark_outbox", "team_b": "tidemark_outbox_team_b"} {
		harness.Eventually(t, "the roles have their rights", func() error {
			var may bool
			err := sql.QueryRow(t.Context(), `SELECT has_table_privilege($1, $2, 'INSERT')`, role, schema+".outbox").Scan(&may)
			if err == nil && !may {
				err = errors.New("not yet")
			}
			return err
		})
		_, err := sql.Exec(t.Context(), `SET ROLE `+role+`; INSERT INTO `+schema+`.outbox (command_id, subject, body) VALUES ('row', 'agent.row.set', '{"key":"of","value":"`+schema+`"}'); RESET ROLE`)
		harness.Must(t, err)
	}
	ca.CaughtUp(t)
	b.Kill()
	b.Restart()
	cb = b.Client(t)
	cb.CaughtUp(t)

	for _, of := range []struct {
		e            *harness.Engine
		schema, team string
		agents       int
	}{{a, "agents", "a", 3}, {b, "team_b", "b", 5}} {
		harness.Eventually(t, "the outbox and the archive of "+of.schema, func() error {
			var rows, wrong, done, events int
			reader := "tidemark_reader"
			if of.schema != "agents" {
				reader += "_" + of.schema
			}
			if _, err := sql.Exec(t.Context(), `SET ROLE `+reader); err != nil {
				return err
			}
			err := sql.QueryRow(t.Context(), strings.ReplaceAll(`SELECT count(*), count(*) FILTER (WHERE state_value NOT IN (to_jsonb($1::text), to_jsonb('X'::text))),
				(SELECT count(*) FROM X.outbox WHERE outcome->>'outcome' = 'accepted'), (SELECT count(*) FROM X.events) FROM X.state`, "X", of.schema), of.team).Scan(&rows, &wrong, &done, &events)
			if err == nil && (rows != of.agents+1 || wrong > 0 || done != 1 || events < 31) {
				err = fmt.Errorf("%d rows, %d of the other engine, %d commands of the outbox, %d events", rows, wrong, done, events)
			}
			return err
		})
		for _, command := range [][]string{{"rebuild", "durable", "--postgres", s.URL()}, {"verify", "--postgres", s.URL()}, {"replay"}, {"archive", "trim", "--before", "0s", "--plan"}, {"dlq", "list"}} {
			if r := harness.Run(t, append(command, "--data", of.e.Data)...); r.Code != 0 {
				t.Errorf("%v of %s: %+v", command, of.schema, r)
			}
		}
		if r := of.e.Run("status"); !strings.Contains(r.Stdout, "schema team_b") != (of.schema == "agents") {
			t.Errorf("status of %s: %+v", of.schema, r)
		}
	}
	_, err = sql.Exec(t.Context(), `SET ROLE tidemark_reader`)
	harness.Must(t, err)
	if _, err = sql.Exec(t.Context(), `SELECT FROM team_b.state`); err == nil {
		t.Error("the reader of one team reads the other's tables")
	}
	var left []string
	harness.Must(t, sql.QueryRow(t.Context(), `SELECT array_agg(nspname::text ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'`).Scan(&left))
	if got := strings.Join(left, " "); got != "agents public team_b" {
		t.Errorf("schemas: %s", got)
	}

	b.Stop()
	if log := b.Refuses("--postgres-schema", "agents"); !strings.Contains(log, "are in the schema team_b") {
		t.Errorf("started with another schema: %s", log)
	}
	b.Restart()
}
