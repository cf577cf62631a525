package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

const remindA1 = `{"every_ms":60000,"command":{"subject":"agent.a1.set","body":{"key":"k","value":1.50}}}`

// TestReminderCommandsAgain: a repeated command has its first receipt, with the same
// command in another spelling too, and another one is refused.
func TestReminderCommandsAgain(t *testing.T) {
	for name, newID := range map[string]func() string{"young": youngID, "old": oldID, "untimed": func() string { return "a-name" }} {
		t.Run(name, func(t *testing.T) {
			e := one(t)
			send := func(verb, id, body string) (commands.Receipt, error) {
				return e.Send(t.Context(), commands.Request{Aggregate: "reminder", ID: "r1", Verb: verb, CommandID: id, Body: []byte(body)})
			}
			id := newID()
			first, err := send("set", id, remindA1)
			if err != nil || first.Outcome != domain.Accepted || first.Version != 1 {
				t.Fatalf("%+v, %v", first, err)
			}
			first.Replayed = true
			again := ` {"command":{"body":{"value":1.50,"\u006bey":"k"},"subject":"agent.a1.set"}, "every_ms":60000}`
			for range 2 {
				for _, body := range []string{remindA1, again} {
					if r, err := send("set", id, body); err != nil || r != first {
						t.Errorf("%s again: %+v, %v", body, r, err)
					}
				}
				for _, other := range [][2]string{
					{"set", `{"every_ms":60001,"command":{"subject":"agent.a1.set","body":{"key":"k","value":1.50}}}`}, {"set", `{"every_ms":60000,"command":{"subject":"agent.a1.set","body":{"key":"k","value":1.5}}}`},
					{"set", `{"every_ms":60000,"missed":"one","command":{"subject":"agent.a1.set","body":{"key":"k","value":1.50}}}`},
					{"set", `{"every_ms":60000,"count":1,"command":{"subject":"agent.a1.set","body":{"key":"k","value":1.50}}}`}, {"cancel", ``},
				} {
					var known *domain.Error
					if _, err := send(other[0], id, other[1]); !errors.As(err, &known) || known.Code != "command.id_reused" {
						t.Errorf("%s: %v", other, err)
					}
				}
				_, err := send("cancel", youngID(), ``)
				harness.Must(t, err)
			}
			if r, err := send("cancel", youngID(), ``); err != nil || r.Outcome != domain.Unchanged || r.Version != 2 {
				t.Errorf("cancelled again: %+v, %v", r, err)
			}
			if r, err := send("set", youngID(), remindA1); err != nil || r.Version != 3 {
				t.Errorf("set again: %+v, %v", r, err)
			}
		})
	}
}

// TestReminderPermit: who may not send a command cannot make the engine send it later.
func TestReminderPermit(t *testing.T) {
	journal := journaltest.History(t, 1)
	e := newEngine(t, journal, commands.Config{Past: journal, Permit: permit(t, map[string][]string{
		"bob": {"command reminder:bob-*", "command agent:bob-*", "command agent:team.mood set", "command task:* create,complete,start when holder"},
		"eve": {"command agent:eve-*"},
	})})
	as := func(who, id, body string) error {
		ctx := t.Context()
		if who != "" {
			ctx = identity.With(ctx, &identity.Caller{Principal: who})
		}
		_, err := e.Send(ctx, commands.Request{Aggregate: "reminder", ID: id, Verb: "set", Body: []byte(body)})
		return err
	}
	for id, agent := range map[string]string{"alices": "alice", "bobs": "bob-1"} {
		_, err := e.Send(t.Context(), commands.Request{Aggregate: "task", ID: id, Verb: "create", Body: fmt.Appendf(nil, `{"kind":"k","agent_id":%q}`, agent)})
		harness.Must(t, err)
	}
	at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	sends := func(subject, body string) string {
		return fmt.Sprintf(`{"at":%q,"command":{"subject":%q,"body":%s}}`, at, subject, strings.ReplaceAll(body, at, "2999-01-01T00:00:00Z"))
	}
	const ok = ""
	for _, c := range []struct{ who, id, body, missing string }{
		{"bob", "bob-1", sends("agent.bob-1.set", `{"key":"k","value":1}`), ok},
		{"bob", "other", sends("agent.bob-1.set", `{"key":"k","value":1}`), "command reminder:other set"},
		{"eve", "eve-1", sends("agent.eve-1.set", `{"key":"k","value":1}`), "command reminder:eve-1 set"},
		{"bob", "bob-1", sends("agent.alice.set", `{"key":"k","value":1}`), "command agent:alice set"},
		{"bob", "bob-1", sends("agent.alice.erase", `{"reason":1}`), "command agent:alice erase"},
		{"bob", "bob-1", sends("agent.team.set", `{"key":"mood","value":1}`), ok},
		{"bob", "bob-1", sends("agent.team.set", `{"key":"wish","value":1}`), "command agent:team set"},
		{"bob", "bob-1", sends("agent.bob-2.fork", `{"from":"secret"}`), "query agent:secret entries"},
		{"bob", "bob-1", sends("message.alice.direct", `{"to":"bob-1","body":1}`), "command message:alice direct"},
		{"bob", "bob-1", sends("task.bobs.complete", `{}`), ok},
		{"bob", "bob-1", sends("task.alices.complete", `{}`), "command task:alices complete"},
		{"bob", "bob-1", sends("task.missing.complete", `{}`), "command task:missing complete"},
		{"bob", "bob-1", sends("task.new.create", `{"kind":"k","agent_id":"alice"}`), "command task:new create"},
		{"bob", "bob-1", sends("task.new.create", `{"kind":"k","agent_id":"bob-1"}`), ok},
		{"bob", "bob-1", sends("reminder.bob-2.set", sends("agent.bob-1.set", `{"key":"k","value":1}`)), ok},
		{"bob", "bob-1", sends("reminder.bob-2.set", sends("agent.alice.set", `{"key":"k","value":1}`)), "command agent:alice set"},
		{"bob", "bob-1", sends("reminder.bob-2.set", sends("task.alices.complete", `{}`)), "command task:alices complete"},
		{"bob", "bob-1", sends("reminder.other.cancel", `{}`), "command reminder:other cancel"},
		{"", "any", sends("agent.alice.set", `{"key":"k","value":1}`), ok},
	} {
		err := as(c.who, c.id, c.body)
		var known *domain.Error
		if c.missing == ok {
			if err != nil {
				t.Errorf("%s, %s %s: %v", c.who, c.id, c.body, err)
			}
		} else if !errors.As(err, &known) || known.Kind != domain.Forbidden || known.Message != c.missing {
			t.Errorf("%s, %s %s: %v, want 403 %s", c.who, c.id, c.body, err, c.missing)
		}
	}
	for id, actor := range map[string]string{"bob-1": "bob", "any": ""} {
		got := commandstest.Stored(t, journal, events.Reminder(id))
		if len(got) == 0 || got[0].Actor != actor {
			t.Fatalf("%s: %d events", id, len(got))
		}
		if r, err := domain.CarriedState[struct {
			SetBy string `json:"set_by"`
		}](&got[0].Event); err != nil || r.SetBy != actor {
			t.Errorf("%s is set by %q, %v", id, r.SetBy, err)
		}
	}
	if got := commandstest.Stored(t, journal, events.Reminder("other")); len(got) > 0 {
		t.Errorf("a refused reminder is set: %+v", got)
	}
}

// TestAReminderWhoseCommandComesTooLate: what the command says of time must hold at the first due
// time, else each firing would be refused. A repeated reminder has its first receipt all the same.
func TestAReminderWhoseCommandComesTooLate(t *testing.T) {
	now := time.Date(2027, 3, 1, 12, 30, 0, 0, time.UTC)
	e := newEngine(t, journaltest.History(t, 1), commands.Config{Now: func() time.Time { return now }})
	in := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	set := func(id, when, subject, body string) (commands.Receipt, error) {
		return e.Send(t.Context(), commands.Request{Aggregate: "reminder", ID: "r1", Verb: "set", CommandID: id,
			Body: fmt.Appendf(nil, `{%s,"command":{"subject":%q,"body":%s}}`, when, subject, body)})
	}
	task := func(d time.Duration) string { return fmt.Sprintf(`{"kind":"k","deadline":%q}`, in(d)) }
	entry := func(d time.Duration) string { return fmt.Sprintf(`{"key":"k","value":1,"timestamp":%q}`, in(d)) }
	nested := func(d time.Duration, subject, body string) string {
		return fmt.Sprintf(`{"at":%q,"command":{"subject":%q,"body":%s}}`, in(d), subject, body)
	}
	at, every, hourly := fmt.Sprintf(`"at":%q`, in(time.Hour)), `"every_ms":3600000`, `"cron":"0 * * * *"` // the next hour begins in half an hour
	for _, c := range []struct{ when, subject, body, code string }{
		{at, "task.t1.create", task(time.Minute), "deadline.past"}, {at, "task.t1.create", task(time.Hour), "deadline.past"}, {at, "task.t1.create", task(61 * time.Minute), ""},
		{every, "task.t1.create", task(59 * time.Minute), "deadline.past"}, {every, "task.t1.create", task(61 * time.Minute), ""},
		{hourly, "task.t1.create", task(29 * time.Minute), "deadline.past"}, {hourly, "task.t1.create", task(31 * time.Minute), ""},
		{at, "agent.a1.set", entry(2 * time.Hour), "timestamp.future"}, {at, "agent.a1.set", entry(time.Hour), ""}, {at, "agent.a1.set", entry(-time.Hour), ""},
		{hourly, "agent.a1.set", entry(time.Hour), "timestamp.future"}, {at, "agent.a1.revert", fmt.Sprintf(`{"to_time":%q}`, in(2*time.Hour)), "timestamp.future"},
		{at, "reminder.r2.set", nested(time.Hour, "agent.a1.flush", `{}`), "at.past"}, {at, "reminder.r2.set", nested(2*time.Hour, "agent.a1.flush", `{}`), ""},
		{at, "reminder.r2.set", `{"every_ms":1000,"until":"` + in(time.Minute) + `","command":{"subject":"agent.a1.flush"}}`, "until.past"},
		{at, "reminder.r2.set", `{"every_ms":60000,"until":"` + in(time.Hour+time.Second) + `","command":{"subject":"agent.a1.flush"}}`, "schedule.never"},
		{at, "reminder.r2.set", nested(2*time.Hour, "task.t1.create", task(90*time.Minute)), "deadline.past"},
		{at, "reminder.r2.set", nested(2*time.Hour, "agent.a1.set", entry(90*time.Minute)), ""},
	} {
		_, err := set("", c.when, c.subject, c.body)
		if c.code == "" {
			if err != nil {
				t.Errorf("%s %s %s: %v", c.when, c.subject, c.body, err)
			}
			continue
		}
		if kind, _ := e.wantCode(err, c.code); kind != domain.Invalid {
			t.Errorf("%s %s %s: %v", c.when, c.subject, c.body, err)
		}
	}
	id := youngID()
	first, err := set(id, at, "task.t1.create", task(61*time.Minute))
	harness.Must(t, err)
	now, first.Replayed = now.Add(3*time.Hour), true
	if r, err := set(id, fmt.Sprintf(`"at":%q`, in(-2*time.Hour)), "task.t1.create", task(61*time.Minute-3*time.Hour)); err != nil || r != first {
		t.Errorf("again: %+v, %v", r, err)
	}
}
