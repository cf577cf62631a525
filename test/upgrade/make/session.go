package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/upgrade"
)

// session is what is sent to an engine, and what it answers.
type session struct {
	*engine
	upgrade.Fixture
}

// command sends a command and records it with its reply, whose status must be
// want; 0 is a receipt.
func (s *session) command(ctx context.Context, want int, subject, id, body string) error {
	reply, status, err := s.ask(ctx, "commands."+subject, id, body)
	if err != nil {
		return err
	}
	if status != want {
		return fmt.Errorf("%s %s: status %d, want %d: %s", subject, body, status, want, reply)
	}
	s.Commands = append(s.Commands, upgrade.Command{Subject: subject, ID: id, Body: body, Refused: status, Reply: reply})
	return nil
}

// revision is that of the last recorded receipt.
func (s *session) revision() uint64 {
	var r struct {
		Revision uint64 `json:"revision"`
	}
	_ = json.Unmarshal([]byte(s.Commands[len(s.Commands)-1].Reply), &r) // zero where it is none: the query then refuses it
	return r.Revision
}

// enqueue sends a durable command and records the command it stands for with
// its outcome.
func (s *session) enqueue(ctx context.Context, subject, id, body string) error {
	if _, err := s.js.Publish(ctx, "enqueue."+subject, []byte(body), jetstream.WithMsgID(id)); err != nil {
		return err
	}
	return within(ctx, "the outcome of "+id, func() error {
		reply, status, err := s.ask(ctx, "queries.command."+id+".get", "", "")
		if err != nil {
			return err
		}
		if status != 0 {
			return fmt.Errorf("status %d: %s", status, reply)
		}
		if !strings.Contains(reply, `"error"`) {
			s.Commands = append(s.Commands, upgrade.Command{Subject: subject, ID: id, Body: body, Reply: reply})
		}
		return nil
	})
}

// views returns when every view has reached the journal's head; one of them
// may quarantine so many aggregates.
func (s *session) views(ctx context.Context, quarantined int) error {
	return within(ctx, "the views have caught up", func() error {
		reply, _, err := s.ask(ctx, "queries.engine.status", "", "")
		if err != nil {
			return err
		}
		var status struct {
			Views []struct {
				Name        string `json:"name"`
				Lag         uint64 `json:"lag_events"`
				Quarantined int    `json:"quarantined"`
			} `json:"views"`
		}
		if err := json.Unmarshal([]byte(reply), &status); err != nil {
			return err
		}
		n := 0
		for _, v := range status.Views {
			n += v.Quarantined
			if v.Lag > 0 {
				return fmt.Errorf("%+v", v)
			}
		}
		if n != quarantined || len(status.Views) == 0 {
			return fmt.Errorf("%d quarantined, want %d", n, quarantined)
		}
		return nil
	})
}

// query records an answer.
func (s *session) query(ctx context.Context, subject, body string) error {
	reply, status, err := s.ask(ctx, "queries."+subject, "", body)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("%s %s: %s", subject, body, reply)
	}
	s.Answers = append(s.Answers, upgrade.Answer{Subject: subject, Body: body, Reply: reply})
	return nil
}

// print records what a subcommand prints.
func (s *session) print(ctx context.Context, args ...string) error {
	stdout, _, err := s.run(ctx, args...)
	s.Answers = append(s.Answers, upgrade.Answer{Args: args, Reply: stdout})
	return err
}

// record notes how the journal ends, what it folds to and what is set aside.
func (s *session) record(ctx context.Context) error {
	version, err := exec.CommandContext(ctx, s.program, "version").Output()
	if err != nil {
		return err
	}
	s.Build = strings.TrimSpace(string(version))
	stream, err := s.js.Stream(ctx, "EVENTS")
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return err
	}
	s.Head = info.State.LastSeq
	for subject := range info.State.Subjects {
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return err
		}
		last := upgrade.Last{Subject: subject, Revision: msg.Sequence}
		if err := json.Unmarshal(msg.Data, &last); err != nil {
			return err
		}
		s.Last = append(s.Last, last)
	}
	slices.SortFunc(s.Last, func(a, b upgrade.Last) int { return strings.Compare(a.Subject, b.Subject) })

	to := fmt.Sprint(s.Head)
	events, _, err := s.run(ctx, "replay", "--to", to)
	if err != nil {
		return err
	}
	s.Events, s.Replay = strings.Count(events, "\n"), fmt.Sprintf("%x", sha256.Sum256([]byte(events)))
	_, digest, err := s.run(ctx, "replay", "--to", to, "--state")
	if err != nil {
		return err
	}
	if s.State = sha.FindString(digest); s.State == "" {
		return fmt.Errorf("replay --state printed no digest: %s", digest)
	}
	letters, _, err := s.run(ctx, "dlq", "list", "--json")
	if err != nil {
		return err
	}
	s.DeadLetters, err = upgrade.DeadLetters(letters)
	return err
}

var sha = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// now is between what was answered before and what is sent after.
func now() string { return time.Now().UTC().Format(time.RFC3339Nano) }
