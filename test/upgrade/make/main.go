// Program make writes the fixture of one build for the test of upgrades: it
// runs that build's engine on a new data directory, sends it commands, records
// its answers, stops it and packs what it left. Run it by hand, once for a
// build whose data directories later builds must open:
//
//	go run ./test/upgrade/make -engine /path/to/engine -name e37ddfc
//
// and commit the two files it writes into test/upgrade/testdata. The program
// speaks to the engine over its wire and its command line alone, so it works
// with any build. It needs pg_dump beside the PostgreSQL that the engine runs.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/test/upgrade"
)

func main() {
	program := flag.String("engine", "", "the build's binary")
	name := flag.String("name", "", "the fixture's name: the build's commit")
	out := flag.String("o", "test/upgrade/testdata", "directory of the fixtures")
	flag.Parse()
	if *program == "" || *name == "" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, *program, *name, *out); err != nil {
		fmt.Fprintln(os.Stderr, "make:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, program, name, out string) (err error) {
	dir, err := os.MkdirTemp("", "tm-") // short: a socket's path is short
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { // postgres may run as another user
		return err
	}
	data := filepath.Join(dir, "data")
	e, err := start(ctx, program, data)
	if err != nil {
		return err
	}
	defer e.kill()
	s := session{engine: e, Fixture: upgrade.Fixture{Made: time.Now().UTC().Truncate(time.Second)}}
	if err := s.play(ctx); err != nil {
		return err
	}
	if err := e.stop(); err != nil {
		return fmt.Errorf("stop the engine: %w", err)
	}
	sql, err := dump(ctx, filepath.Join(data, "postgres"))
	if err != nil {
		return err
	}
	return s.Write(out, name, data, sql)
}

// psqlOnly are lines of a dump that are commands of psql and not SQL.
var psqlOnly = regexp.MustCompile(`(?m)^\\(un)?restrict .*\n`)

// dump is a managed database as SQL that any client can execute.
func dump(ctx context.Context, dir string) (sql []byte, err error) {
	server, err := local.Start(ctx, local.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer func() {
		if stopErr := server.Stop(ctx); err == nil {
			err = stopErr
		}
	}()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(server.BinDir(), "pg_dump"), "--no-owner", "--no-privileges", "--inserts", "--rows-per-insert=100", server.SocketURL())
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("pg_dump: %w\n%s", err, &stderr)
	}
	return psqlOnly.ReplaceAll(stdout.Bytes(), nil), nil
}
