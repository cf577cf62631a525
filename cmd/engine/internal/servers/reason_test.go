package servers

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestReasonsNameNoServer: what /readyz says of a store that is away has no address, no
// user and no database.
func TestReasonsNameNoServer(t *testing.T) {
	t.Parallel()
	address := harness.FreeAddress(t)
	_, away := pgconn.Connect(t.Context(), "postgres://someone:secret@"+address+"/base?sslmode=disable")
	silent := net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 5432}
	for _, c := range []struct {
		err  error
		want string
	}{
		{away, "Postgres is unavailable: connection refused"},
		{fmt.Errorf("write 3 rows up to 94: %w", away), "write 3 rows up to 94: Postgres is unavailable: connection refused"},
		{fmt.Errorf("archive: %w", &net.OpError{Op: "write", Net: "tcp", Source: &silent, Addr: &silent, Err: syscall.EPIPE}), "archive: write: broken pipe"},
		{fmt.Errorf("flush: %w", &pgconn.PgError{Severity: "ERROR", Code: "42501", Message: "permission denied for table state"}), "flush: ERROR: permission denied for table state (SQLSTATE 42501)"},
		{errors.New("the target has lost its rows"), "the target has lost its rows"},
	} {
		if got := Reason(c.err); got != c.want {
			t.Errorf("%v:\n%q, want\n%q", c.err, got, c.want)
		}
	}
	e := harness.New(t, harness.Config{SQL: "postgres://someone:secret@" + address + "/base?sslmode=disable"})
	e.Restart()
	e.Client(t).MustSet(t, "a", "k", 1, nil)
	harness.Within(t, 30*time.Second, "a view waits", func() error {
		_, body := e.Ready()
		for _, secret := range []string{address, "someone", "base"} {
			if strings.Contains(body, secret) {
				t.Fatalf("/readyz names %s: %s", secret, body)
			}
		}
		if !strings.Contains(body, "it waits") {
			return errors.New(body)
		}
		return nil
	})
	e.Stop()
}
