package local

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestColdAndWarmStart(t *testing.T) {
	dir := newDir(t)
	began := time.Now()
	s := start(t, Config{Dir: dir})
	t.Logf("cold start: %v", time.Since(began))

	for sql, want := range map[string]string{
		"SELECT current_user":       "tidemark",
		"SELECT current_database()": "tidemark",
		"SHOW is_superuser":         "off",
		"SELECT count(*) FROM pg_roles WHERE rolname IN ('tidemark_reader', 'tidemark_outbox') AND NOT rolcanlogin": "2",
		"SHOW server_encoding":     "UTF8",
		"SHOW data_checksums":      "on",
		"SHOW fsync":               "on",
		"SHOW synchronous_commit":  "on",
		"SHOW listen_addresses":    "127.0.0.1",
		"SHOW password_encryption": "scram-sha-256",
		"SELECT datcollate FROM pg_database WHERE datname = current_database()": "C",
	} {
		expect(t, s.URL(), sql, want)
	}
	expect(t, s.SuperuserURL(), "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'", "0")
	if strings.Contains(s.URL(), s.password) {
		t.Error("the URL contains the password")
	}
	version, err := queryValue(t.Context(), s.SocketURL(), "SHOW server_version")
	harness.Must(t, err)
	if got, _, _ := strings.Cut(version, " "); got != s.Version() {
		t.Errorf("Version is %q, the server says %q", s.Version(), version)
	}
	if _, err := queryValue(t.Context(), s.loginURL(role, "guess", role), "SELECT 1"); err == nil {
		t.Error("logged in with a wrong password")
	}
	for name, mode := range map[string]os.FileMode{passwordName: 0o600, adminName: 0o600, passfileName: 0o600, dataName: 0o700, runName: 0o700} {
		info, err := os.Stat(filepath.Join(dir, name))
		harness.Must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	expect(t, s.URL(), "CREATE TABLE kept AS SELECT 42 AS answer", "")
	expect(t, s.SuperuserURL(), "CREATE ROLE app LOGIN PASSWORD 'x' IN ROLE tidemark_reader; CREATE ROLE few LOGIN CONNECTION LIMIT 7", "")
	url := s.URL()
	stop(t, s)

	began = time.Now()
	again := start(t, Config{Dir: dir})
	t.Logf("warm start: %v", time.Since(began))
	if again.URL() != url {
		t.Errorf("URL changed from %s to %s", url, again.URL())
	}
	expect(t, again.SocketURL(), "SELECT answer FROM kept", "42")
	applicationsAreBounded(t, again)
}

// applicationsAreBounded: an application can take neither all connections nor the disk.
func applicationsAreBounded(t *testing.T, s *Server) {
	app := s.loginURL("app", "x", role)
	expect(t, app, "SHOW temp_file_limit", "1GB")
	expect(t, s.URL(), "SHOW temp_file_limit", "-1")
	expect(t, s.SuperuserURL(), "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'few'", "7")
	for open := 0; ; open++ {
		conn, err := pgx.Connect(t.Context(), app)
		if err != nil {
			t.Logf("after %d connections: %v", open, err)
			break
		}
		defer conn.Close(context.Background())
	}
	for range 16 { // the pool of an engine
		conn, err := pgx.Connect(t.Context(), s.URL())
		harness.Must(t, err)
		defer conn.Close(context.Background())
	}
}

func TestPortTaken(t *testing.T) {
	dir := sharedDir(t)
	s := start(t, Config{Dir: dir})
	port := s.port
	stop(t, s)
	taken, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	harness.Must(t, err)
	defer taken.Close()

	_, err = tryStart(t, Config{Dir: dir, Port: port})
	wantError(t, err, "FATAL", "Address already in use")
	if left := s.serving(); len(left) > 0 {
		t.Errorf("a failed start left %v", left)
	}
	moved := start(t, Config{Dir: dir})
	if moved.port == port {
		t.Error("kept a port that is taken")
	}
}

func TestDeepDirectory(t *testing.T) {
	dir := filepath.Join(newDir(t), strings.Repeat("deep/", 20), "pg")
	s := start(t, Config{Dir: dir})
	if strings.HasPrefix(s.socketDir, s.dir) {
		t.Errorf("socket in %s", s.socketDir)
	}
	info, err := os.Stat(s.socketDir)
	harness.Must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("socket directory has mode %v", info.Mode())
	}
	expect(t, s.SocketURL(), "SELECT 1", "1")
	stop(t, s)
	if _, err := os.Stat(s.socketDir); !os.IsNotExist(err) {
		t.Errorf("Stop left %s: %v", s.socketDir, err)
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	dir := sharedDir(t)
	s := start(t, Config{Dir: dir})
	pid := s.pid()
	_, err := tryStart(t, Config{Dir: dir})
	wantError(t, err, "another engine already runs here")
	expect(t, s.URL(), "SELECT 1", "1")
	if s.pid() != pid {
		t.Error("the running postgres was restarted")
	}
}

func TestLogFileIsBounded(t *testing.T) {
	dir := t.TempDir()
	l, err := openLogFile(filepath.Join(dir, logName))
	harness.Must(t, err)
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range 3 * maxLogBytes / len(line) {
		_, err := l.Write(line)
		harness.Must(t, err)
	}
	_, _ = l.Write([]byte("FATAL: the end\n"))
	harness.Must(t, l.Close())
	var total int64
	files, err := os.ReadDir(dir)
	harness.Must(t, err)
	for _, f := range files {
		info, err := f.Info()
		harness.Must(t, err)
		total += info.Size()
	}
	if total > 2*maxLogBytes || len(files) != 2 {
		t.Errorf("%d files, %d bytes", len(files), total)
	}
	if tail := l.takeTail(); !strings.HasSuffix(tail, "FATAL: the end") || len(tail) > tailBytes {
		t.Errorf("the tail is %q", tail)
	}
	if again := l.takeTail(); again != "" {
		t.Errorf("the tail repeats %q", again)
	}
}
