package pg_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// pooler speaks as pgbouncer does: it answers logins itself, refuses startup
// parameters that it does not know, and gives a client a server connection for a
// transaction or for its session.
type pooler struct {
	server      string
	transaction bool
	max         int // server connections; 0 = any number

	mu   sync.Mutex
	free []*pgconn.HijackedConn
	made int
	all  []net.Conn
}

// url starts the pooler and returns the URL that leads through it.
func (p *pooler) url(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	var clients sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.all {
			_ = c.Close()
		}
		p.mu.Unlock()
		clients.Wait()
	})
	clients.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.keep(c)
			clients.Go(func() { _ = p.serve(t.Context(), c) })
		}
	})
	u, err := url.Parse(p.server)
	harness.Must(t, err)
	return "postgres://app@" + l.Addr().String() + u.Path + "?sslmode=disable"
}

func (p *pooler) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, c)
}

// take returns the server connection that was used last; nil = all are in use.
func (p *pooler) take(ctx context.Context) (*pgconn.HijackedConn, error) {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	if p.max > 0 && p.made == p.max {
		p.mu.Unlock()
		return nil, nil
	}
	p.made++
	p.mu.Unlock()
	c, err := pgconn.Connect(ctx, p.server)
	if err != nil {
		return nil, err
	}
	s, err := c.Hijack()
	if err == nil {
		p.keep(s.Conn)
	}
	return s, err
}

func (p *pooler) serve(ctx context.Context, c net.Conn) error {
	defer c.Close()
	client := pgproto3.NewBackend(c, c)
	first, err := client.ReceiveStartupMessage()
	if err != nil {
		return err
	}
	start, ok := first.(*pgproto3.StartupMessage)
	if !ok {
		return nil // a request to cancel a statement
	}
	for name := range start.Parameters {
		if !slices.Contains([]string{"user", "database", "application_name", "client_encoding", "timezone"}, strings.ToLower(name)) {
			client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: " + name})
			return client.Flush()
		}
	}
	client.Send(&pgproto3.AuthenticationOk{})
	for name, value := range map[string]string{"server_version": "15.0", "client_encoding": "UTF8", "standard_conforming_strings": "on"} {
		client.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	client.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if err := client.Flush(); err != nil {
		return err
	}
	var server *pgconn.HijackedConn
	for {
		msg, err := client.Receive()
		if err != nil {
			return err
		}
		for server == nil {
			if server, err = p.take(ctx); err != nil {
				return err
			}
			if server == nil {
				select {
				case <-time.After(time.Millisecond):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		server.Frontend.Send(msg)
		switch msg.(type) {
		case *pgproto3.Query, *pgproto3.Sync:
		default:
			continue
		}
		if err := server.Frontend.Flush(); err != nil {
			return err
		}
		for idle := false; !idle; {
			answer, err := server.Frontend.Receive()
			if err != nil {
				return err
			}
			client.Send(answer)
			if ready, ok := answer.(*pgproto3.ReadyForQuery); ok {
				if idle = true; p.transaction && ready.TxStatus == 'I' {
					p.mu.Lock()
					p.free = append(p.free, server)
					p.mu.Unlock()
					server = nil
				}
			}
		}
		if err := client.Flush(); err != nil {
			return err
		}
	}
}

// A pooler that gives the engine sessions works; one that does not is refused with
// what is needed.
func TestPoolers(t *testing.T) {
	for name, c := range map[string]struct {
		pooler  *pooler
		refused bool
	}{
		"session":                         {&pooler{}, false},
		"transaction":                     {&pooler{transaction: true}, true},
		"transaction, one server process": {&pooler{transaction: true, max: 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.pooler.server = support.Postgres(t)
			db, err := pg.Open(c.pooler.url(t))
			harness.Must(t, err)
			defer db.Close()
			err = db.Migrate(t.Context(), harness.Log(t))
			var unsuitable *pg.Unsuitable
			if c.refused {
				if !errors.As(err, &unsuitable) || !strings.Contains(err.Error(), "pool_mode=session") {
					t.Errorf("%v", err)
				}
				return
			}
			var timeout string
			if err := errors.Join(err, db.Pool().QueryRow(t.Context(), "SHOW statement_timeout").Scan(&timeout)); err != nil || timeout != "15s" {
				t.Errorf("statement_timeout is %q, %v", timeout, err)
			}
		})
	}
}
