package pg_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestTransportRisks(t *testing.T) {
	ca := harness.NewCA(t)
	for raw, want := range map[string]string{
		"postgres://u@127.0.0.1/db?sslmode=disable":                                    "",
		"postgres://u@[::1]/db":                                                        "",
		"postgres://u@localhost/db":                                                    "",
		"host=/run/postgresql user=u":                                                  "",
		"postgres://u@/db?host=/run/pg&sslmode=disable":                                "",
		"postgres://u@db.example.org/db":                                               "without TLS",
		"postgres://u@db.example.org/db?sslmode=disable":                               "without TLS",
		"postgres://u@db.example.org/db?sslmode=prefer":                                "without TLS",
		"postgres://u@db.example.org/db?sslmode=allow":                                 "without TLS",
		"host=10.0.0.1 user=u password=SECRET":                                         "without TLS",
		"postgres://u@127.0.0.1,db.example.org/db?sslmode=disable":                     "without TLS",
		"postgres://u@db.example.org/db?sslmode=require":                               "not verified",
		"postgres://u@db.example.org/db?sslmode=require&sslrootcert=" + ca.File:        "",
		"postgres://u@db.example.org/db?sslmode=verify-ca&sslrootcert=" + ca.File:      "",
		"postgres://u@db.example.org/db?sslmode=verify-full&sslrootcert=" + ca.File:    "",
		"host=db.example.org user=u sslmode=verify-full sslrootcert='" + ca.File + "'": "",
	} {
		if got := pg.TransportRisk(raw); got == "" != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

// withTLS gives the shared server a certificate for 127.0.0.1 and the role certified,
// which logs in with a client certificate.
func withTLS(t *testing.T, ca *harness.CA, admin string) {
	conn, err := pgx.Connect(t.Context(), admin)
	harness.Must(t, err)
	defer conn.Close(context.Background())
	var dir, hba string
	harness.Must(t, conn.QueryRow(t.Context(), `SELECT current_setting('data_directory'), current_setting('hba_file')`).Scan(&dir, &hba))
	info, err := os.Stat(dir)
	harness.Must(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	cert, key, root := dir+"/tls.crt", dir+"/tls.key", dir+"/tls.ca"
	ca.Issue(cert, key, "server", time.Hour, "127.0.0.1")
	text, err := os.ReadFile(ca.File)
	harness.Must(t, err)
	harness.Must(t, os.WriteFile(root, text, 0o600))
	rules, err := os.ReadFile(hba)
	harness.Must(t, err)
	harness.Must(t, os.WriteFile(hba, append([]byte("hostssl all certified 127.0.0.1/32 cert\n"), rules...), 0o600))
	for _, file := range []string{cert, key, root} {
		harness.Must(t, os.Chown(file, int(owner.Uid), int(owner.Gid)))
	}
	for _, sql := range []string{
		"ALTER SYSTEM SET ssl_cert_file = 'tls.crt'", "ALTER SYSTEM SET ssl_key_file = 'tls.key'", "ALTER SYSTEM SET ssl_ca_file = 'tls.ca'",
		"ALTER SYSTEM SET ssl = on", "CREATE ROLE certified LOGIN", "CREATE ROLE passworded LOGIN PASSWORD 'one'", "SELECT pg_reload_conf()",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	t.Cleanup(func() {
		harness.Must(t, os.WriteFile(hba, rules, 0o600))
		conn, err := pgx.Connect(context.Background(), admin)
		harness.Must(t, err)
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), "ALTER SYSTEM RESET ssl")
		harness.Must(t, err)
		_, err = conn.Exec(context.Background(), "SELECT pg_reload_conf()")
		harness.Must(t, err)
	})
	harness.Eventually(t, "the server has TLS", func() bool {
		c, err := pgx.Connect(t.Context(), strings.Replace(admin, "sslmode=disable", "sslmode=require", 1))
		if err == nil {
			c.Close(context.Background())
		}
		return err == nil
	})
}

// verify-full, client certificates and password files work, and rotated files are used
// by the next connection.
func TestTLS(t *testing.T) {
	admin, ca, dir := support.Postgres(t), harness.NewCA(t), t.TempDir()
	withTLS(t, ca, admin)
	u, err := url.Parse(admin)
	harness.Must(t, err)
	client, stranger, passfile := filepath.Join(dir, "client"), filepath.Join(dir, "stranger"), filepath.Join(dir, "pass")
	ca.Issue(client, client+".key", "certified", time.Hour)
	harness.NewCA(t).Issue(stranger, stranger+".key", "certified", time.Hour)
	password := func(p string) { harness.Must(t, os.WriteFile(passfile, fmt.Appendf(nil, "*:*:*:*:%s\n", p), 0o600)) }
	password("one")
	full := "&sslmode=verify-full&sslrootcert=" + ca.File
	server := func(host, role, options string) string {
		return fmt.Sprintf("postgres://%s@%s:%s%s?connect_timeout=5%s", role, host, u.Port(), u.Path, options)
	}
	for name, c := range map[string]struct{ url, fails string }{
		"verify-full":          {server("127.0.0.1", "passworded", full+"&passfile="+passfile), ""},
		"keywords":             {fmt.Sprintf("host=127.0.0.1 port=%s dbname=%s user=passworded passfile=%s sslmode=verify-full sslrootcert=%s", u.Port(), u.Path[1:], passfile, ca.File), ""},
		"another CA":           {server("127.0.0.1", "passworded", "&sslmode=verify-full&passfile="+passfile+"&sslrootcert="+harness.NewCA(t).File), "certificate"},
		"another name":         {server("localhost", "passworded", full+"&passfile="+passfile), "certificate"},
		"a client certificate": {server("127.0.0.1", "certified", full+"&sslcert="+client+"&sslkey="+client+".key"), ""},
		"none":                 {server("127.0.0.1", "certified", full), "28000"},
		// The server refuses it after the handshake of the client: its alert may be lost with the connection.
		"another CA's":           {server("127.0.0.1", "certified", full+"&sslcert="+stranger+"&sslkey="+stranger+".key"), "certificate|connection reset|broken pipe"},
		"a password instead":     {server("127.0.0.1", "certified", full+"&passfile="+passfile), "28000"},
		"the certificate's role": {server("127.0.0.1", "passworded", full+"&sslcert="+client+"&sslkey="+client+".key"), "28"},
	} {
		db, err := pg.Open(c.url)
		harness.Must(t, err)
		err = db.Ping(t.Context())
		if db.Close(); (err == nil) != (c.fails == "") || err != nil && !regexp.MustCompile(c.fails).MatchString(err.Error()) {
			t.Errorf("%s: %v, want %q", name, err, c.fails)
		}
	}
	db, err := pg.Open(server("127.0.0.1", "passworded", full+"&passfile="+passfile))
	harness.Must(t, err)
	defer db.Close()
	harness.Must(t, db.Ping(t.Context()))
	run(t, admin, "ALTER ROLE passworded PASSWORD 'two'")
	db.Pool().Reset()
	if err := db.Ping(t.Context()); err == nil {
		t.Error("the old password is taken")
	}
	password("two")
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("the new password: %v", err)
	}
}
