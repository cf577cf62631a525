package local

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// A cluster of an earlier build, whose only role is the superuser tidemark, keeps
// its data, its password and its URL; the engine's role loses the other rights.
func TestAClusterOfAnEarlierBuildIsConverted(t *testing.T) {
	dir := newDir(t)
	s := &Server{cfg: Config{Dir: dir}, log: slog.New(slog.DiscardHandler)}
	ctx := t.Context()
	harness.Must(t, s.openDir(ctx))
	var err error
	s.bins, err = chooseBinaries(ctx, 0, s.account)
	harness.Must(t, err)
	s.password, err = s.loadPassword(passwordName, true)
	harness.Must(t, err)
	harness.Must(t, s.account.chown(s.dir)) // initdb makes the directory of the cluster
	out, err := s.account.run(ctx, s.dir, filepath.Join(s.bins.dir, "initdb"), "--pgdata="+s.pgdata(), "--username="+role,
		"--pwfile="+filepath.Join(s.dir, passwordName), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
	if err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	harness.Must(t, os.Lchown(s.dir, os.Geteuid(), os.Getegid()))
	single(t, s, "postgres", "CREATE DATABASE tidemark;")
	single(t, s, role, `CREATE SCHEMA agents; CREATE TABLE agents.outbox (id bigint GENERATED ALWAYS AS IDENTITY, answer int); INSERT INTO agents.outbox (answer) VALUES (42); `+
		`CREATE FUNCTION agents.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE public.tidemark_schema (id int);`)

	for range 2 {
		server := start(t, Config{Dir: dir})
		for sql, want := range map[string]string{
			"SHOW is_superuser": "off",
			"SELECT answer FROM agents.outbox WHERE answer <> 7":                                                                      "42", // the order is random
			"SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname <> 'postgres'":                                                  "0",
			"SELECT count(*) FROM pg_class WHERE relname IN ('outbox', 'tidemark_schema') AND pg_get_userbyid(relowner) = 'tidemark'": "2",
			"SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'f'":                                                       "tidemark",
			"ALTER TABLE agents.outbox ADD COLUMN IF NOT EXISTS added int":                                                            "",
			"INSERT INTO agents.outbox (answer) VALUES (7)":                                                                           "",
			"DELETE FROM agents.outbox WHERE answer = 7":                                                                              "",
		} {
			expect(t, server.URL(), sql, want)
		}
		if server.password != s.password {
			t.Error("the password changed")
		}
		stop(t, server)
	}
}

// single runs statements in a cluster without a server, one line each.
func single(t *testing.T, s *Server, database, sql string) {
	t.Helper()
	cmd := s.account.command(context.WithoutCancel(t.Context()), s.dir, filepath.Join(s.bins.dir, "postgres"), "--single", "-D", s.pgdata(), database)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(sql, "; ", ";\n"))
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "ERROR") {
		t.Fatal(fmt.Errorf("%s: %w: %s", sql, err, out))
	}
}
