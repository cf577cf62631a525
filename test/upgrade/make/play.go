package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/test/upgrade"
)

// values are JSON that a careless copy changes.
var values = []string{
	`1.0`, "{\"b\" :\n\t[1,  2],\r\n\"a\":1e2}", `"\u00e9é\/"`, `{}`, `12345678901234567890.5`, `null`, `[true,false,-0]`,
	`{"nested":{"deep":[{"er":"` + strings.Repeat("x", 600) + `"}]}}`,
}

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

// entries writes state entries of several agents under ids of every kind.
func (s *session) entries(ctx context.Context) error {
	past := ulid.MustNew(ulid.Timestamp(time.Now().Add(-time.Hour)), ulid.DefaultEntropy()).String()
	for i, value := range values {
		for n, id := range []string{ulid.Make().String(), uuid.Must(uuid.NewV7()).String(), fmt.Sprintf("order-%d", i)} {
			body := `{"key":"mood","strategy":"last_write_wins","value":` + value + `}`
			if err := s.command(ctx, 0, fmt.Sprintf("agent.a%d.set", n+1), id, body); err != nil {
				return err
			}
		}
		if err := s.all(ctx, `config.a1.set {"key":"limits.max","value":`+oneLine(value)+`}`); err != nil {
			return err
		}
	}
	return errors.Join(
		s.command(ctx, 0, "agent.a1.set", past, `{"key":"plan","value":{"step":1}}`),
		s.command(ctx, 0, "agent.a2.delete", "gone-1", `{"key":"mood"}`),
		s.all(ctx, `
			agent.a1.set {"key":"counter","value":1,"strategy":"reject"}
			agent.a1.set {"key":"counter","value":2,"expected_version":1,"writer":"first"}
			agent.a1.set {"key":"a.b/c=d","value":"key"}
			agent.a3.set {"key":"short","value":"lived"}
			agent.a3.delete {"key":"short"}
			config.a1.set {"key":"model","value":"small"}
			config.a1.unset {"key":"model"}
			config.a2.set {"key":"model","value":"large"}`),
		s.command(ctx, 0, "batch", "", fmt.Sprintf(`{"atomic":true,"commands":[
			{"subject":"agent.a1.set","id":%q,"body":{"key":"pair.left","value":1}},
			{"subject":"agent.a2.set","id":%q,"body":{"key":"pair.right","value":2}}]}`, ulid.Make(), "pair-2")),
	)
}

func oneLine(text string) string {
	return strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(text)
}

// documents has tasks in every status, and sessions.
func (s *session) documents(ctx context.Context) error {
	return s.all(ctx, `
		task.waits.create {"kind":"work","payload":{"n":1.50},"priority":10}
		task.meant.create {"kind":"work","agent_id":"a1"}
		task.runs.create {"kind":"work","deadline":"2099-01-01T00:00:00Z"}
		task.runs.start {"agent_id":"a1"}
		task.runs.progress {"percent":12.5,"note":"begun"}
		task.done.create {"kind":"work"}
		task.done.start {"agent_id":"a2"}
		task.done.progress {"percent":50}
		task.done.complete {"result":{"sum":3.0}}
		task.broken.create {"kind":"work"}
		task.broken.start {"agent_id":"a2"}
		task.broken.fail {"reason":"no_luck","detail":"it did not work"}
		task.again.create {"kind":"work"}
		task.again.start {"agent_id":"a2"}
		task.again.fail {"reason":"timeout"}
		task.again.start {"agent_id":"a1"}
		task.off.create {"kind":"work"}
		task.off.cancel {"reason":"no_need"}
		session.open.open {"owner":"a1","ttl":2592000}
		session.open.put {"key":"cart","value":["apple", 1.0]}
		session.open.touch
		session.over.open {"owner":"a2","ttl":3600}
		session.over.put {"key":"k","value":1}
		session.over.close`)
}

// lifecycles has agents in every phase that lasts, forks and a heartbeat, and
// messages of every kind.
func (s *session) lifecycles(ctx context.Context) error {
	for _, step := range []struct{ line, agent, phase string }{
		{`agent.a1.hydrate {"reason":"wanted"}`, "a1", "active"},
		{`agent.a1.flush`, "a1", "active"},
		{`agent.a2.hydrate`, "a2", "active"},
		{`agent.a2.expire {"reason":"silent"}`, "a2", "expired"},
		{`agent.a3.hydrate`, "a3", "active"},
		{`agent.a3.retire`, "a3", "cold"},
	} {
		if err := s.all(ctx, step.line); err != nil {
			return err
		}
		if err := s.phase(ctx, step.agent, step.phase); err != nil {
			return err
		}
	}
	if err := s.all(ctx, fmt.Sprintf(`
		agent.fork1.fork {"from":"a1"}
		agent.fork2.fork {"from":"a1","at_revision":%d,"reason":"what if"}
		agent.fork1.set {"key":"mood","value":"of its own","strategy":"last_write_wins"}`, 10)); err != nil {
		return err
	}
	for _, m := range []struct{ subject, body string }{
		{"message.a1.direct", `{"to":"a2","body":{"b": 1, "a": 1.50}}`},
		{"message.a1.broadcast", `{"body":"all"}`},
		{"message.a3.notify", `{"type":"alarm","body":null}`},
	} {
		id := ulid.Make().String()
		if err := s.send(ctx, m.subject, id, m.body); err != nil {
			return err
		}
		s.Messages = append(s.Messages, id)
	}
	return s.send(ctx, "agent.a1.heartbeat", "", `{"status":"busy"}`)
}

// send sends a command that is not recorded.
func (s *session) send(ctx context.Context, subject, id, body string) error {
	reply, status, err := s.ask(ctx, "commands."+subject, id, body)
	if err == nil && status != 0 {
		err = fmt.Errorf("%s: %s", subject, reply)
	}
	return err
}

// phase returns when an agent is in a phase, and the engine's part of it done.
func (s *session) phase(ctx context.Context, agent, phase string) error {
	return within(ctx, agent+" is "+phase, func() error {
		reply, _, err := s.ask(ctx, "queries.agent."+agent+".lifecycle", "", "")
		if err == nil && !strings.Contains(reply, `"phase":"`+phase+`"`) {
			err = errors.New(reply)
		}
		return err
	})
}

// conflicts has writes that lose, by every strategy.
func (s *session) conflicts(ctx context.Context) error {
	return errors.Join(
		s.all(ctx, `
			agent.a1.set {"key":"timed","value":"late","timestamp":"2026-01-02T00:00:00.123456789Z"}
			agent.a1.set {"key":"timed","value":"early","timestamp":"2026-01-01T00:00:00Z","writer":"w2"}
			agent.a1.delete {"key":"timed","strategy":"timestamp","timestamp":"2025-12-31T00:00:00Z"}`),
		s.command(ctx, 409, "agent.a1.set", ulid.Make().String(), `{"key":"counter","value":9,"strategy":"reject"}`),
		s.command(ctx, 409, "agent.a1.set", "lost-1", `{"key":"counter","value":9,"expected_version":1}`),
		s.command(ctx, 409, "agent.a1.set", uuid.Must(uuid.NewV7()).String(), `{"key":"mood","value":9,"strategy":"last_write_wins","expected_version":77}`),
	)
}

// durable has durable commands under ids of each kind, and one that is a dead
// letter.
func (s *session) durable(ctx context.Context) error {
	return errors.Join(
		s.enqueue(ctx, "agent.a4.set", ulid.Make().String(), `{"key":"k","value":1,"strategy":"last_write_wins"}`),
		s.enqueue(ctx, "agent.a4.set", uuid.Must(uuid.NewV7()).String(), `{"key":"k","value":2,"strategy":"last_write_wins"}`),
		s.enqueue(ctx, "agent.a4.set", "durable-3", `{"key":"k","value":3,"strategy":"last_write_wins"}`),
		s.enqueue(ctx, "task.queued.create", ulid.Make().String(), `{"kind":"work"}`),
		s.enqueue(ctx, "agent.a4.set.more", ulid.Make().String(), `{"key":"k","value":4}`), // not a command
	)
}

// outbox has commands of SQL transactions.
func (s *session) outbox(ctx context.Context, sql *pgx.Conn) error {
	for i := range 3 {
		c := upgrade.Command{Subject: "agent.a5.set", ID: fmt.Sprintf("app-%d", i), Body: fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, i)}
		_, err := sql.Exec(ctx, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, $2, $3::text::json)`, c.ID, "commands."+c.Subject, c.Body)
		if err != nil {
			return err
		}
		err = within(ctx, "the outbox is relayed", func() error {
			return sql.QueryRow(ctx, `SELECT outcome::text FROM agents.outbox WHERE command_id = $1 AND done_at IS NOT NULL`, c.ID).Scan(&c.Reply)
		})
		if err != nil {
			return err
		}
		s.Commands = append(s.Commands, c)
	}
	return nil
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

// questions asks what later builds must answer in the same way. Where an
// aggregate may change by itself, the question is about its past.
func (s *session) questions(ctx context.Context, middle string) error {
	head := s.revision()
	var token struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(s.Commands[len(s.Commands)-1].Reply), &token); err != nil {
		return err
	}
	s.Token = token.Token
	lines := fmt.Sprintf(`
		agent.a1.get {"key":"mood","consistency":"strong"}
		agent.a1.get {"key":"mood","consistency":"durable"}
		agent.a1.get {"key":"counter"}
		agent.a2.get {"key":"mood","consistency":"hot"}
		agent.a1.get {"key":"mood","at_revision":6}
		agent.a1.get {"key":"mood","at_revision":14}
		agent.a1.get {"key":"mood","at_time":"%[2]s"}
		agent.a2.get {"key":"pair.right","at_time":"%[2]s"}
		agent.a1.entries {}
		agent.a1.entries {"at_time":"%[2]s"}
		agent.a3.entries {"at_revision":20}
		agent.fork1.entries {}
		agent.fork2.entries {}
		agent.a1.history {"key":"mood"}
		agent.a1.history {"key":"timed","losers":true}
		agent.a1.history {"key":"counter","losers":true}
		agent.a2.history {"key":"mood"}
		agent.a3.history {"key":"short"}
		agent.a6.history {"key":"new"}
		agent.a1.lifecycle {}
		agent.a2.lifecycle {}
		agent.a3.lifecycle {}
		agent.fork1.lifecycle {}
		config.a1.get {"key":"limits.max"}
		config.a1.entries {}
		config.a1.history {"key":"limits.max"}
		config.a2.entries {"at_time":"%[2]s"}
		task.waits.get {}
		task.done.get {}
		task.again.history {}
		task.runs.get {"at_revision":%[1]d}
		task.runs.history {}
		task.off.get {}
		tasks.list {"kind":"work"}
		tasks.list {"status":"failed"}
		session.open.get {"at_revision":%[1]d}
		session.over.get {}
		session.over.history {}`, head, middle)
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		subject, body, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := s.query(ctx, subject, body); err != nil {
			return err
		}
	}
	return errors.Join(
		s.print(ctx, "diff", "agent.a1", "--from", "6", "--to", fmt.Sprint(head), "--json"),
		s.print(ctx, "diff", "task.runs", "--from", "0", "--to", middle, "--json"),
		s.print(ctx, "replay", "--state", "--to", middle),
		s.print(ctx, "replay", "--state", "--to", "20", "--subject", "events.agent.>"),
	)
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
