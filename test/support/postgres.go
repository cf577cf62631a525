package support

import (
	"context"
	"errors"
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
)

// One cluster serves all tests of a process; each gets a database of its own.
var (
	cluster struct {
		sync.Mutex
		dir    string
		server *local.Server
	}
	databases atomic.Int64
)

// Postgres is the URL of a fresh, empty database. It goes with the cluster:
// dropping one takes a checkpoint.
func Postgres(t testing.TB) string {
	t.Helper()
	base, err := sharedURL()
	if err != nil {
		t.Fatal(err)
	}
	name := "t" + strconv.FormatInt(databases.Add(1), 10)
	admin(t, base, "CREATE DATABASE "+name)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func sharedURL() (string, error) {
	cluster.Lock()
	defer cluster.Unlock()
	if cluster.server != nil {
		return cluster.server.SocketURL(), nil
	}
	dir, err := os.MkdirTemp("", "tidemark-tests-")
	if err != nil {
		return "", err
	}
	// When root runs the tests postgres is somebody else, who must get in.
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", err
	}
	cluster.dir = dir
	cluster.server, err = local.Start(context.Background(), local.Config{
		Dir: filepath.Join(dir, "postgres"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	return cluster.server.SocketURL(), nil
}

func admin(t testing.TB, base, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, base)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

var stopErr error

func stopPostgres() {
	cluster.Lock()
	defer cluster.Unlock()
	if cluster.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	stopErr = cluster.server.Stop(ctx)
}

// sweep removes what the process shared, after its tests.
func sweep() error {
	if cluster.dir == "" {
		return nil
	}
	return errors.Join(stopErr, os.RemoveAll(cluster.dir))
}
