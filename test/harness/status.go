package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Status is the part of queries.engine.status that the wire contract (section
// 7) promises.
type Status struct {
	NATS struct {
		URL string `json:"url"`
	} `json:"nats"`
	Postgres struct {
		URL   string `json:"url"`
		State string `json:"state"` // up, away, off
	} `json:"postgres"`
	Durability string `json:"durability"`
	Views      []View `json:"views"`
}

// View is the progress of one view on one partition.
type View struct {
	Name       string  `json:"name"`
	Partition  int     `json:"partition"`
	Position   uint64  `json:"position"`
	Head       uint64  `json:"head"`
	LagEvents  uint64  `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"`
	State      string  `json:"state"`
	Reason     string  `json:"reason"`

	Quarantined int      `json:"quarantined"`
	Held        []string `json:"held"`
}

// View returns the view of partition 0.
func (s Status) View(name string) (v View) {
	for _, v := range s.Views {
		if v.Name == name && v.Partition == 0 {
			return v
		}
	}
	return v
}

// Status queries the status.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	answer, err := c.Query(ctx, "queries.engine.status", nil)
	if err == nil {
		err = json.Unmarshal(answer, &s)
	}
	return s, err
}

// CaughtUp waits until every view has reached the head that the journal has now.
func (c *Client) CaughtUp(t testing.TB) Status {
	t.Helper()
	return c.CaughtUpWithin(t, Patience)
}

// CaughtUpWithin is CaughtUp with another bound. Of several engines any may answer: a view
// that stands by in one must run in another.
func (c *Client) CaughtUpWithin(t testing.TB, d time.Duration) Status {
	t.Helper()
	type place struct {
		view      string
		partition int
	}
	var s Status
	var heads map[place]uint64 // as the first answer had them: writers may go on
	runs := map[place]bool{}   // in an engine that has answered
	Within(t, d, "every view has caught up", func() (err error) {
		if s, err = c.Status(t.Context()); err != nil {
			return err
		}
		if len(s.Views) == 0 {
			return fmt.Errorf("status shows no view")
		}
		if heads == nil {
			heads = map[place]uint64{}
			for _, v := range s.Views {
				heads[place{v.Name, v.Partition}] = v.Head
			}
		}
		for _, v := range s.Views {
			head, known := heads[place{v.Name, v.Partition}]
			reached := v.LagEvents == 0 || known && head > 0 && v.Position >= head
			if at := (place{v.Name, v.Partition}); v.State == "running" {
				runs[at] = true
			} else if v.State != "standby" || !runs[at] {
				return fmt.Errorf("%+v", v)
			}
			if !reached {
				return fmt.Errorf("%+v", v)
			}
		}
		return nil
	})
	return s
}

// SQL connects to the database that status names, as any SQL user can.
func (c *Client) SQL(t testing.TB) *pgx.Conn {
	t.Helper()
	url := c.sql
	if url == "" {
		s, err := c.Status(t.Context())
		Mustf(t, err, "status")
		url = s.Postgres.URL
	}
	conn, err := pgx.Connect(t.Context(), url)
	Mustf(t, err, "connect to the database")
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Verify runs `engine verify`, which must find no difference.
func (e *Engine) Verify() {
	e.t.Helper()
	args := []string{}
	if e.cfg.SQL != "" {
		args = []string{"--postgres", e.cfg.SQL}
	}
	if r := e.Run("verify", args...); r.Code != 0 {
		e.t.Errorf("engine verify ended with %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}
