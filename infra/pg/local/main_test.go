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
	"go.uber.org/goleak"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// engineDir makes this test binary an engine that serves the cluster in the
// named directory until it is killed.
const engineDir = "TIDEMARK_TEST_ENGINE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(engineDir); dir != "" {
		runEngine(dir)
	}
	base, err := os.MkdirTemp("", "tidemark-clusters-")
	if err == nil {
		err = os.Chmod(base, 0o711)
	}
	if err != nil {
		panic(err)
	}
	relocated = base
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(base)
		os.Exit(code)
	}))
}

func runEngine(dir string) {
	s, err := Start(context.Background(), Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	<-make(chan struct{})
}

// engine is a process that runs runEngine.
type engine struct {
	cmd *exec.Cmd
	out io.ReadCloser
}

func startEngine(t *testing.T, dir string) *engine {
	t.Helper()
	exe, err := os.Executable()
	harness.Must(t, err)
	e := &engine{cmd: exec.Command(exe)}
	e.cmd.Env = append(os.Environ(), engineDir+"="+dir)
	e.out, err = e.cmd.StdoutPipe()
	harness.Must(t, err)
	harness.Must(t, e.cmd.Start())
	t.Cleanup(e.kill)
	return e
}

func (e *engine) url(t *testing.T) string {
	t.Helper()
	line, err := bufio.NewReader(e.out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		t.Fatalf("engine: %q %v", line, err)
	}
	return strings.TrimSpace(line)
}

// kill sends SIGKILL.
func (e *engine) kill() {
	if e.cmd.ProcessState == nil {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
	}
}

// newDir returns the path of a directory that a Server may create. It opens the
// parents, which t.TempDir closes to the account when root runs the tests.
func newDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	harness.Must(t, os.Chmod(filepath.Dir(dir), 0o711))
	harness.Must(t, os.Chmod(dir, 0o711))
	return filepath.Join(dir, "postgres")
}

// sharedDir is one cluster that tests use in turn, because initdb takes most of
// a cold start. Each test leaves it whole and stopped.
func sharedDir(t *testing.T) string {
	t.Helper()
	parent := filepath.Join(relocated, "shared")
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
	if left := s.serving(); len(left) > 0 {
		t.Errorf("still running after Stop: %v", left)
	}
}

// queryValue runs one statement on a new connection and returns its single
// value as text.
func queryValue(ctx context.Context, url, sql string) (string, error) {
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
	var value string
	for rows.Next() {
		value = string(rows.RawValues()[0])
	}
	return value, rows.Err()
}

func expect(t *testing.T, url, sql, want string) {
	t.Helper()
	if got, err := queryValue(t.Context(), url, sql); err != nil || got != want {
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
