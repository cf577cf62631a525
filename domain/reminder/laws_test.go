package reminder_test

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/domain/reminder"
	"github.com/tidemark-engine/tidemark/events"
)

func TestLaws(t *testing.T) {
	domaintest.Aggregate[reminder.Reminder, reminder.Command]{
		Evolve:  reminder.Evolve,
		Decide:  reminder.Decide,
		Command: draw,
		Load:    domain.CarriedState[reminder.Reminder],
		Types: []string{
			events.ReminderSet, events.ReminderDue, events.ReminderFired, events.ReminderMissed, events.ReminderCancelled, events.ReminderDone,
			events.ReminderErased,
		},
	}.Laws(t)
}

func draw(t *rapid.T) reminder.Command {
	c := reminder.Command{ID: "r1", Request: "r"}
	switch rapid.IntRange(0, 4).Draw(t, "verb") {
	case 0:
		c.Type, c.Schedule = events.ReminderSet, events.ReminderSchedule{
			Missed: rapid.SampledFrom([]string{reminder.One, reminder.All, reminder.Skip}).Draw(t, "missed"), Count: rapid.IntRange(0, 3).Draw(t, "count"),
			Command: events.ReminderCommand{Subject: "agent.a1.set", Body: []byte(rapid.SampledFrom([]string{`{}`, `{"key":"k","value":1.50}`}).Draw(t, "body"))},
			Owner:   rapid.SampledFrom([]string{"", "a1"}).Draw(t, "owner"),
		}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			c.Schedule.At = domaintest.Time(t, "at")
		case 1:
			c.Schedule.EveryMS = rapid.SampledFrom([]int64{1000, 60_000}).Draw(t, "every")
		case 2:
			c.Schedule.Cron, c.Schedule.Timezone = "* * * * *", "Europe/Berlin"
		}
		if rapid.Bool().Draw(t, "ends") {
			c.Schedule.Until = domaintest.Time(t, "until")
		}
	case 1:
		c.Type = events.ReminderCancelled
	case 2, 3:
		c.Type = events.ReminderDue
		c.Due = reminder.Due{SetAt: domaintest.Time(t, "set at"), NextAt: domaintest.Time(t, "next at"), CommandID: "c1", Since: domaintest.Time(t, "since")}
		if rapid.Bool().Draw(t, "next of a period") {
			c.Due.NextAt = c.Due.SetAt.Add(time.Second)
		}
	case 4:
		c.Type = events.ReminderFired
		c.Answer = events.ReminderAnswer{CommandID: "c1", Outcome: "accepted", Version: 3, Revision: 7}
		if rapid.Bool().Draw(t, "refused") {
			c.Answer = events.ReminderAnswer{CommandID: "c1", Outcome: reminder.Refused, Error: &events.ReminderError{Code: "key.invalid", Status: 400, Message: "é"}}
		}
	}
	return c
}

// Erasing cancels a reminder that is active and leaves no content, which Outline has none of.
func TestErased(t *testing.T) {
	const marker = "CONTENT"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	body := events.ReminderCommand{Subject: "agent.a1.set", Body: []byte(`"` + marker + `"`)}
	for from, want := range map[reminder.Status]reminder.Status{
		reminder.Active: reminder.Cancelled, reminder.Done: reminder.Done, reminder.Cancelled: reminder.Cancelled,
	} {
		full := reminder.Reminder{
			Status: from, Command: body, Owner: "a1", NextAt: at, Pending: &reminder.Pending{Replaced: &body},
			Last: &reminder.Last{Error: &events.ReminderError{Code: "c", Message: marker}},
		}
		agent, outline := full.Outline()
		erased, err := reminder.Evolve(full, &events.Event{Type: events.ReminderErased, Timestamp: at})
		if err != nil || agent != "a1" || outline.Status != from || erased.Status != want || erased.Pending != nil || erased.Last.Error.Code != "c" ||
			from != want && (!erased.EndedAt.Equal(at) || !erased.NextAt.IsZero()) {
			t.Errorf("%s: outline %+v of %s, erased %+v, %v", from, outline, agent, erased, err)
		}
		for _, r := range []reminder.Reminder{outline, erased} {
			if text, err := domain.Encode(r); err != nil || bytes.Contains(text, []byte(marker)) {
				t.Errorf("%s: %s, %v", from, text, err)
			}
		}
	}
}
