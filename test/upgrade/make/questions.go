package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

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
