package main

import (
	"context"
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
