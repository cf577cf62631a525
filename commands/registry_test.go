package commands

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/test/badinput"
)

// TestBelow: the prefix and the root may be left out, also where the prefix is the name of
// an aggregate.
func TestBelow(t *testing.T) {
	for _, c := range [][3]string{
		{"", "agent.a1.set", "agent.a1.set"}, {"", "commands.agent.a1.set", "agent.a1.set"}, {"", "task.t1", "task.t1"},
		{"acme.", "acme.commands.agent.a1.set", "agent.a1.set"}, {"acme.", "acme.agent.a1.set", "agent.a1.set"}, {"acme.", "agent.acme.set", "agent.acme.set"},
		{"agent.", "agent.a1.set", "agent.a1.set"}, {"agent.", "commands.agent.a1.set", "agent.a1.set"}, {"agent.", "agent.a1", "agent.a1"},
		{"agent.", "agent.commands.agent.a1.set", "agent.a1.set"}, {"agent.", "agent.agent.a1.set", "agent.a1.set"}, {"task.", "task.agent.a1.set", "agent.a1.set"},
		{"acme.task.", "acme.task.commands.task.t1.start", "task.t1.start"}, {"", "nothing", "nothing"},
	} {
		if got := Below(c[0], c[1]); got != c[2] {
			t.Errorf("%q below %q is %q, want %q", c[1], c[0], got, c[2])
		}
	}
}

// FuzzRead reads a command as every door does, decides it on an aggregate without
// events, and stores what it leads to.
func FuzzRead(f *testing.F) {
	now := time.Date(2026, 6, 7, 12, 0, 0, 0, time.UTC)
	for _, c := range badinput.Commands(now) {
		if len(c.Body) < 5000 {
			f.Add(c.Subject, c.ID, []byte(c.Body))
		}
	}
	for subject, body := range map[string]string{
		"agent.a1.set":    `{"key":"k","value":{"b":1.50,"a":"\u0041"},"timestamp":"2026-06-07T11:00:00Z","strategy":"reject","expected_version":0,"writer":"w"}`,
		"agent.a1.delete": `{"key":"k","timestamp":"2026-06-07T11:00:00.5+01:00"}`, "task.t1.create": `{"kind":"k","payload":[1],"priority":3,"deadline":"2300-01-01T00:00:00Z"}`,
		"session.s1.open": `{"owner":"o","ttl":60}`, "config.a1.set": `{"key":"k","value":null}`, "message.a1.notify": `{"type":"t","body":"b"}`,
		"agent.a1.merge": `{"key":"k","value":{"a":{"b":null,"c":1}}}`,
		"agent.a1.add":   `{"key":"k","delta":-0.1e-5,"min":-1,"max":1}`, "agent.a1.append": `{"key":"k","items":[1,[]],"max_items":1}`,
		"agent.a1.revert": `{"key":"k","to_version":3,"reason":"r","expected_version":4}`, "agent.b1.revert": `{"to_time":"2026-06-07T11:00:00Z"}`,
		"agent.b1.fork": `{"from":"a1","at_revision":3}`, "agent.a1.heartbeat": `{"status":{}}`,
	} {
		f.Add(subject, "c1", []byte(body))
	}
	f.Fuzz(func(t *testing.T, subject, id string, body []byte) {
		sent := string(body)
		aggregate, aggregateID, verb, err := ParseSubject(subject)
		var cmd Command
		if err == nil {
			cmd, err = read(Request{Aggregate: aggregate, ID: aggregateID, Verb: verb, CommandID: id, Body: body}, now, DefaultBounds())
		}
		if string(body) != sent {
			t.Fatal("the body was changed")
		}
		if err != nil {
			var known *domain.Error
			if !errors.As(err, &known) || known.Kind.Status() >= 500 {
				t.Errorf("%q %q: %v", subject, body, err)
			}
			return
		}
		if cmd.decide == nil {
			return
		}
		d := cmd.decide(nil, domain.Metadata{Now: now, CommandID: cmd.CommandID})
		if d.Refusal != nil && d.Refusal.Kind == domain.Internal {
			t.Errorf("%q %q: %v", subject, body, d.Refusal)
		}
		if err := (&Handler{}).complete(t.Context(), d.Events, &head{}, &cmd, now); err != nil {
			t.Errorf("%q %q: %v", subject, body, err)
		}
		for _, ev := range d.Events {
			if back, err := events.Decode(ev.Encode()); err != nil || back.Digest != ev.Digest {
				t.Errorf("%q %q: stored as %s, %v", subject, body, ev.Encode(), err)
			}
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	for _, s := range []string{"agent.a1.set", "agent.a.b.set", "", ".", "..", "agent", "agent.a1", "ghost.a.b.c", "agent..set", "a\xff.b.c.d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		aggregate, id, verb, err := ParseSubject(subject)
		if err == nil {
			if strings.Join([]string{aggregate, id, verb}, ".") != subject {
				t.Errorf("%q is %q, %q, %q", subject, aggregate, id, verb)
			}
			return
		}
		var known *domain.Error
		if !errors.As(err, &known) || known.Code != "id.invalid" && known.Code != "command.unknown" {
			t.Errorf("%q: %v", subject, err)
		}
	})
}

func FuzzMadeAt(f *testing.F) {
	now := time.Date(2026, 6, 7, 12, 0, 0, 0, time.UTC)
	for _, id := range []string{
		"01J0000000000000000000000A", "01j0000000000000000000000a", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "0190163d-8694-739b-aea5-966c26f8ad90",
		"ffffffff-ffff-7fff-bfff-ffffffffffff", "0190163D-8694-739B-AEA5-966C26F8AD90", "7f3a9c0d1e5b7f3a9c0d1e5b7f", "",
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		at, timed := MadeAt(id, now, 5*time.Second)
		if timed && (at.After(now.Add(5*time.Second)) || at.Before(time.UnixMilli(0)) || domain.CheckID("id", id) != nil) {
			t.Errorf("%q says %s", id, at)
		}
	})
}
