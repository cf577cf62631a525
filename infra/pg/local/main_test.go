package local

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// ownDir makes this test binary an engine that owns the cluster in the named
// directory until it is killed.
const ownDir = "TIDEMARK_TEST_OWN_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownDir); dir != "" {
		own(dir)
	}
	base, err := os.MkdirTemp("", "tidemark-clusters-")
	if err == nil {
		err = os.Chmod(base, 0o711)
	}
	if err != nil {
		panic(err)
	}
	clusters = base
	harness.AtExit(func() error { return os.RemoveAll(base) })
	harness.Main(m)
}

func own(dir string) {
	s, err := Start(context.Background(), Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	<-make(chan struct{})
}

// owner is such an engine in a process of its own.
type owner struct {
	cmd *exec.Cmd
	out io.ReadCloser
}

func newOwner(t *testing.T, dir string) *owner {
	t.Helper()
	exe, err := os.Executable()
	harness.Must(t, err)
	o := &owner{cmd: exec.Command(exe)}
	o.cmd.Env = append(os.Environ(), ownDir+"="+dir)
	o.out, err = o.cmd.StdoutPipe()
	harness.Must(t, err)
	harness.Must(t, o.cmd.Start())
	t.Cleanup(o.kill)
	return o
}

func (o *owner) url(t *testing.T) string {
	t.Helper()
	line, err := bufio.NewReader(o.out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		t.Fatalf("owner: %q %v", line, err)
	}
	return strings.TrimSpace(line)
}

// kill is kill -9.
func (o *owner) kill() {
	if o.cmd.ProcessState == nil {
		_ = o.cmd.Process.Kill()
		_ = o.cmd.Wait()
	}
}

// room is a directory for a launcher that does not exist yet. Its parents are
// opened: what t.TempDir makes is closed to all but the owner, and when root
// runs the tests postgres is somebody else.
func room(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	harness.Must(t, os.Chmod(filepath.Dir(dir), 0o711))
	harness.Must(t, os.Chmod(dir, 0o711))
	return filepath.Join(dir, "postgres")
}

// standing is one cluster that tests use in turn, each leaving it whole and
// stopped: initdb takes most of a cold start.
func standing(t *testing.T) string {
	t.Helper()
	parent := filepath.Join(clusters, "standing")
	harness.Must(t, os.MkdirAll(parent, 0o711))
	return filepath.Join(parent, "postgres")
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := tryStart(t, cfg)
	harness.Must(t, err)
	return s
}

func tryStart(t *testing.T, cfg Config) (*Server, error) {
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Start(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { stop(t, s) })
	}
	return s, err
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	if left := serving(s.data()); len(left) > 0 {
		t.Errorf("still running after Stop: %s", pids(left))
	}
}

// ask runs one statement on a fresh connection and returns its single value as
// text.
func ask(ctx context.Context, url, sql string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var answer string
	for rows.Next() {
		answer = string(rows.RawValues()[0])
	}
	return answer, rows.Err()
}

func expect(t *testing.T, url, sql, want string) {
	t.Helper()
	if got, err := ask(t.Context(), url, sql); err != nil || got != want {
		t.Errorf("%s: got %q, %v; want %q", sql, got, err, want)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error does not say %q: %v", part, err)
		}
	}
}
