package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// play leads an engine through everything that its data directory can hold.
func (s *session) play(ctx context.Context) error {
	sql, err := s.sql(ctx)
	if err != nil {
		return err
	}
	defer sql.Close(ctx)
	middle := ""
	for _, step := range []func() error{
		func() error { return s.entries(ctx) },
		func() error { return s.documents(ctx) },
		func() error { middle = now(); return s.lifecycles(ctx) },
		func() error { return s.conflicts(ctx) },
		func() error { return s.durable(ctx) },
		func() error { return s.outbox(ctx, sql) },
		func() error { return s.trim(ctx) },
		func() error { return s.afterTrim(ctx) },
		func() error { return s.quarantine(ctx, sql) },
		func() error { return s.questions(ctx, middle) },
		func() error { return s.due(ctx) },
		func() error { return s.record(ctx) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) sql(ctx context.Context) (*pgx.Conn, error) {
	reply, _, err := s.ask(ctx, "queries.engine.status", "", "")
	if err != nil {
		return nil, err
	}
	var status struct {
		Postgres struct {
			URL string `json:"url"`
		} `json:"postgres"`
	}
	if err := json.Unmarshal([]byte(reply), &status); err != nil {
		return nil, err
	}
	return pgx.Connect(ctx, status.Postgres.URL)
}

// all sends commands with ULIDs that must be accepted, one "subject body" a
// line.
func (s *session) all(ctx context.Context, lines string) error {
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		subject, body, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := s.command(ctx, 0, subject, ulid.Make().String(), body); err != nil {
			return err
		}
	}
	return nil
}

// send sends a command that is not recorded.
func (s *session) send(ctx context.Context, subject, id, body string) error {
	reply, status, err := s.ask(ctx, "commands."+subject, id, body)
	if err == nil && status != 0 {
		err = fmt.Errorf("%s: %s", subject, reply)
	}
	return err
}

// trim leaves the archive alone with what is superseded so far.
func (s *session) trim(ctx context.Context) error {
	if err := s.views(ctx, 0); err != nil {
		return err
	}
	s.Trimmed = s.revision()
	stdout, _, err := s.run(ctx, "archive", "trim", "--before", fmt.Sprint(s.Trimmed), "--yes", "--json")
	if err == nil && !strings.Contains(stdout, `"done":true`) {
		err = fmt.Errorf("nothing was trimmed: %s", stdout)
	}
	return err
}

// afterTrim writes what only the journal's own part has superseded.
func (s *session) afterTrim(ctx context.Context) error {
	if err := s.all(ctx, `
		agent.a1.set {"key":"mood","value":"after","strategy":"last_write_wins"}
		agent.a2.set {"key":"mood","value":"back again","strategy":"last_write_wins"}
		agent.a6.set {"key":"new","value":1}
		agent.a6.set {"key":"new","value":2}
		agent.a6.delete {"key":"new"}
		config.a2.set {"key":"model","value":"larger"}
		task.runs.progress {"percent":80}
		session.open.put {"key":"cart","value":[]}`); err != nil {
		return err
	}
	return s.views(ctx, 0)
}

// quarantine gives the durable view a row that SQL refuses.
func (s *session) quarantine(ctx context.Context, sql *pgx.Conn) error {
	if err := s.all(ctx, `agent.a7.set {"key":"bad","value":1,"strategy":"last_write_wins"}`); err != nil {
		return err
	}
	if err := s.views(ctx, 0); err != nil {
		return err
	}
	if _, _, err := s.run(ctx, "verify"); err != nil {
		return err
	}
	_, err := sql.Exec(ctx, `ALTER TABLE agents.state ADD CONSTRAINT defect CHECK (state_key <> 'bad') NOT VALID`)
	if err != nil {
		return err
	}
	s.Held, s.Release = "durable:agent.a7.state.bad", `ALTER TABLE agents.state DROP CONSTRAINT defect`
	if err := s.all(ctx, `
		agent.a7.set {"key":"bad","value":2,"strategy":"last_write_wins"}
		agent.a7.set {"key":"bad","value":3,"strategy":"last_write_wins"}
		agent.a7.set {"key":"good","value":4}`); err != nil {
		return err
	}
	return s.views(ctx, 1)
}

// due has aggregates whose time comes after the engine has stopped. Their
// commands are not recorded: sent again later, the deadline is past.
func (s *session) due(ctx context.Context) error {
	s.Due = []string{"events.session.due", "events.task.due", "events.session.open"}
	deadline := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	return errors.Join(
		s.send(ctx, "session.due.open", "", `{"owner":"a1","ttl":60}`),
		s.send(ctx, "task.due.create", "", fmt.Sprintf(`{"kind":"due","deadline":%q}`, deadline)),
		s.views(ctx, 1),
	)
}
