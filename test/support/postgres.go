package support

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// One cluster serves all tests of a process; each gets a database of its own.
var (
	cluster struct {
		sync.Mutex
		server *local.Server
	}
	databases atomic.Int64
)

// Postgres is the URL of a fresh, empty database. It is removed with the
// cluster, for DROP DATABASE takes a checkpoint.
func Postgres(t testing.TB) string {
	t.Helper()
	base, err := sharedURL()
	harness.Must(t, err)
	name := "t" + strconv.FormatInt(databases.Add(1), 10)
	admin(t, base, "CREATE DATABASE "+name)
	u, err := url.Parse(base)
	harness.Must(t, err)
	u.Path = "/" + name
	return u.String()
}

func sharedURL() (string, error) {
	cluster.Lock()
	defer cluster.Unlock()
	if cluster.server != nil {
		return cluster.server.SuperuserURL(), nil
	}
	dir, err := os.MkdirTemp("", "tidemark-tests-")
	if err != nil {
		return "", err
	}
	harness.AtExit(func() error { return os.RemoveAll(dir) })
	// When root runs the tests, another user runs postgres and must get in.
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", err
	}
	if err := harness.CopyCluster(filepath.Join(dir, "postgres")); err != nil {
		return "", err
	}
	server, err := local.Start(context.Background(), local.Config{
		Dir: filepath.Join(dir, "postgres"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	cluster.server = server
	harness.AtExit(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return server.Stop(ctx)
	})
	return server.SuperuserURL(), withoutSync(server.SuperuserURL())
}

// withoutSync lets the cluster forget its last transactions in a power failure,
// which no test of it needs to survive: most of a migration is waiting for the
// disk.
func withoutSync(base string) error {
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, base)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range []string{"ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func admin(t testing.TB, base, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, base)
	harness.Must(t, err)
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
