package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestPostgresUnavailableAtStart: an engine without its database serves, and
// creates the schema when the database answers.
func TestPostgresUnavailableAtStart(t *testing.T) {
	t.Parallel()
	x := startExternal(t)
	url := x.URL()
	x.stop()
	e := harness.Start(t, harness.Config{SQL: url})
	c := e.Client(t)
	r := c.MustSet(t, "early", "k", 1, nil)
	for _, consistency := range []string{"cached", "hot", "strong"} {
		c.MustGet(t, "early", "k", harness.M{"consistency": consistency, "token": r.Token})
	}
	x.start()
	harness.Eventually(t, "the durable view runs", func() error {
		s, err := c.Status(t.Context())
		if v := s.View("durable"); err != nil || v.State != "running" || v.LagEvents > 0 {
			return errors.Join(err, fmt.Errorf("%+v", v))
		}
		return nil
	})
	c.CheckAll(t)
	e.Verify()
}

// TestPostgresWhileItIsMigrated: a database that was away at the start is used once its
// migrations are complete. Another engine that migrates holds this one's up.
func TestPostgresWhileItIsMigrated(t *testing.T) {
	t.Parallel()
	x := startExternal(t)
	p := harness.NewProxy(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(x.port)))
	url := strings.Replace(x.URL(), strconv.Itoa(x.port), strings.Split(p.Address, ":")[1], 1)
	first := harness.Start(t, harness.Config{SQL: url})
	first.Client(t).MustSet(t, "a", "k", 1, nil)
	first.Client(t).CaughtUp(t)
	first.Stop()
	conn, err := pgx.Connect(t.Context(), x.URL())
	harness.Must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	// As an earlier build left it; the key is that of the lock for migrations.
	_, err = conn.Exec(t.Context(), `DELETE FROM agents.tidemark_schema WHERE version_id = (SELECT max(version_id) FROM agents.tidemark_schema);
		SELECT pg_advisory_lock(4097083626)`)
	harness.Must(t, err)

	p.Cut()
	e := harness.Start(t, harness.Config{Data: first.Data, SQL: url})
	c := e.Client(t)
	c.MustSet(t, "a", "k", 2, nil)
	p.Heal()
	for range 15 {
		s, err := c.Status(t.Context())
		harness.Must(t, err)
		if _, err := c.Get(t.Context(), "a", "k", harness.M{"consistency": "durable"}); harness.Refused(err) == nil || harness.Refused(err).Status != 503 {
			t.Errorf("a durable read before the migrations are complete: %v", err)
		}
		if _, err := c.Query(t.Context(), "queries.tasks.list", nil); harness.Refused(err) == nil || harness.Refused(err).Status != 503 {
			t.Errorf("a list before the migrations are complete: %v", err)
		}
		if v := s.View("durable"); v.State == "running" || s.Postgres.State == "up" {
			t.Fatalf("before the migrations are complete: %+v, postgres is %s", v, s.Postgres.State)
		}
		time.Sleep(200 * time.Millisecond)
	}
	_, err = conn.Exec(t.Context(), `SELECT pg_advisory_unlock(4097083626)`)
	harness.Must(t, err)
	c.CaughtUp(t)
	c.CheckAll(t)
	e.Verify()
}

// TestPostgresOfAnotherJournal: a database that was away at the start and turns out to belong to
// another journal ends the commands for good.
func TestPostgresOfAnotherJournal(t *testing.T) {
	t.Parallel()
	x := startExternal(t)
	url := x.URL()
	owner := harness.Start(t, harness.Config{SQL: url, Env: []string{"TIDEMARK_LIFECYCLE=manual"}})
	c := owner.Client(t)
	c.MustSet(t, "a", "k", 1, nil)
	c.CaughtUp(t)
	owner.Stop()
	x.stop()
	e := harness.Start(t, harness.Config{SQL: url})
	c = e.Client(t)
	c.MustSet(t, "a", "early", 1, nil)
	x.start()
	refused := func() error {
		_, err := c.Set(t.Context(), "a", "late", 1, nil)
		if no := harness.Refused(err); no == nil || no.Status != 503 || no.Code != "journal.changed" {
			return fmt.Errorf("%v", err)
		}
		return nil
	}
	harness.Eventually(t, "commands are refused", refused)
	for range 30 {
		harness.Must(t, refused())
		time.Sleep(100 * time.Millisecond)
	}
}
