package reminder_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/reminder"
	"github.com/tidemark-engine/tidemark/events"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// TestEveryTransition: each command in each status.
func TestEveryTransition(t *testing.T) {
	next := start.Add(-time.Second)
	pending := &reminder.Pending{Due: next, CommandID: "c1"}
	commands := []reminder.Command{
		{Type: events.ReminderSet, Schedule: events.ReminderSchedule{EveryMS: 1000, Missed: reminder.One}},
		{Type: events.ReminderCancelled},
		{Type: events.ReminderDue, Due: reminder.Due{SetAt: start.Add(-time.Hour), NextAt: next, CommandID: "c1"}},
		{Type: events.ReminderDue, Due: reminder.Due{SetAt: start, NextAt: next, CommandID: "c1"}}, // of an earlier schedule
		{Type: events.ReminderFired, Answer: events.ReminderAnswer{CommandID: "c1"}},
		{Type: events.ReminderFired, Answer: events.ReminderAnswer{CommandID: "c2"}},
	}
	const is = "unchanged"
	for name, c := range map[string]struct {
		state reminder.Reminder
		want  [6]string
	}{
		"":          {reminder.Reminder{}, [6]string{"set", "reminder.not_found", "reminder.not_found", "reminder.not_found", "reminder.not_found", "reminder.not_found"}},
		"active":    {reminder.Reminder{Status: reminder.Active, NextAt: next}, [6]string{"set", "cancelled", "due", is, is, is}},
		"pending":   {reminder.Reminder{Status: reminder.Active, NextAt: next, Pending: pending}, [6]string{"set", "cancelled", is, is, "fired", is}},
		"last":      {reminder.Reminder{Status: reminder.Active, Pending: pending}, [6]string{"set", "cancelled", is, is, "fired done", is}},
		"ahead":     {reminder.Reminder{Status: reminder.Active, NextAt: start.Add(1)}, [6]string{"set", "cancelled", is, is, is, is}},
		"cancelled": {reminder.Reminder{Status: reminder.Cancelled}, [6]string{"set", is, is, is, is, is}},
		"too late":  {reminder.Reminder{Status: reminder.Cancelled, Pending: pending}, [6]string{"set", is, is, is, "fired", is}},
		"done":      {reminder.Reminder{Status: reminder.Done}, [6]string{"set", "reminder.done", is, is, is, is}},
	} {
		if c.state.Status != "" {
			c.state.EveryMS, c.state.Missed, c.state.SetAt = 1000, reminder.One, start.Add(-time.Hour)
		}
		for i, cmd := range commands {
			if got := typesOf(reminder.Decide(c.state, cmd, domain.Metadata{Now: start, CommandID: "c"})); got != c.want[i] {
				t.Errorf("%s and %s (%d): %s, want %s", name, cmd.Type, i, got, c.want[i])
			}
		}
	}
}

func typesOf(d domain.Decision) string {
	if d.Refusal != nil {
		return d.Refusal.Code
	}
	var types []string
	for _, ev := range d.Events {
		types = append(types, strings.TrimPrefix(ev.Type, "reminder."))
	}
	if len(types) == 0 {
		return string(d.Outcome)
	}
	return strings.Join(types, " ")
}

// play plays a reminder: it asks for what is due at each time of a list, and answers
// each firing at once.
func play(t *testing.T, d events.ReminderSchedule, set time.Time, at []time.Time, since func(at time.Time) time.Time) (facts []string, r reminder.Reminder) {
	t.Helper()
	decide := func(c reminder.Command, now time.Time) bool {
		got := reminder.Decide(r, c, domain.Metadata{Now: now, CommandID: "c"})
		if got.Refusal != nil {
			t.Fatalf("%+v: %v", c, got.Refusal)
		}
		for i := range got.Events {
			ev := &got.Events[i]
			var err error
			if r, err = reminder.Evolve(r, ev); err != nil {
				t.Fatal(err)
			}
			var data struct {
				Due    time.Time `json:"due"`
				First  time.Time `json:"first"`
				Last   time.Time `json:"last"`
				Missed int       `json:"missed_count"`
				Count  int       `json:"count"`
				Reason string    `json:"reason"`
			}
			if err := json.Unmarshal(ev.Data, &data); err != nil {
				t.Fatal(err)
			}
			switch ev.Type {
			case events.ReminderDue:
				facts = append(facts, fmt.Sprintf("%s+%d", data.Due.Format("15:04:05"), data.Missed))
			case events.ReminderMissed:
				facts = append(facts, fmt.Sprintf("%s-%s missed %d", data.First.Format("15:04:05"), data.Last.Format("15:04:05"), data.Count))
			case events.ReminderDone:
				facts = append(facts, "done "+data.Reason)
			}
		}
		return len(got.Events) > 0
	}
	decide(reminder.Command{ID: "r", Type: events.ReminderSet, Schedule: d}, set)
	for _, now := range at {
		for decide(reminder.Command{ID: "r", Type: events.ReminderDue, Due: reminder.Due{SetAt: r.SetAt, NextAt: r.NextAt, CommandID: "c1", Since: since(now)}}, now) {
			decide(reminder.Command{ID: "r", Type: events.ReminderFired, Answer: events.ReminderAnswer{CommandID: "c1", Outcome: "accepted"}}, now)
		}
	}
	return facts, r
}

// TestMissed: what comes of due times, on time and after a downtime.
func TestMissed(t *testing.T) {
	sec := func(n ...int) (at []time.Time) {
		for _, s := range n {
			at = append(at, start.Add(time.Duration(s)*time.Second))
		}
		return at
	}
	restarted := func(at time.Time) time.Time { return at.Add(-time.Second) }
	running := func(time.Time) time.Time { return start }
	every := events.ReminderSchedule{EveryMS: 2000, Count: 5}
	until := events.ReminderSchedule{EveryMS: 2000, Until: start.Add(6 * time.Second)}
	once := events.ReminderSchedule{At: start.Add(2 * time.Second)}
	cron := events.ReminderSchedule{Cron: "5 3 * * *", Timezone: "UTC", Until: start.Add(72 * time.Hour)}
	for name, c := range map[string]struct {
		schedule events.ReminderSchedule
		missed   string
		at       []time.Time
		since    func(time.Time) time.Time
		want     []string
	}{
		"on time":               {every, reminder.One, sec(1, 2, 3, 4, 6, 8, 9, 10, 12), running, []string{"03:04:07+0", "03:04:09+0", "03:04:11+0", "03:04:13+0", "03:04:15+0", "done count"}},
		"slow, but not missed":  {every, reminder.Skip, sec(7, 11), running, []string{"03:04:07+0", "03:04:09+0", "03:04:11+0", "03:04:13+0", "03:04:15+0", "done count"}},
		"one for all":           {every, reminder.One, sec(9, 10, 12, 14, 16, 18), restarted, []string{"03:04:13+3", "03:04:15+0", "03:04:17+0", "03:04:19+0", "03:04:21+0", "done count"}},
		"all":                   {every, reminder.All, sec(9, 10, 12), restarted, []string{"03:04:07+0", "03:04:09+0", "03:04:11+0", "03:04:13+0", "03:04:15+0", "done count"}},
		"skip":                  {every, reminder.Skip, sec(9, 10), restarted, []string{"03:04:07-03:04:13 missed 4", "03:04:15+0"}},
		"until":                 {until, reminder.One, sec(2, 4, 6, 8), running, []string{"03:04:07+0", "03:04:09+0", "03:04:11+0", "done until"}},
		"until, missed":         {until, reminder.Skip, sec(60), running, []string{"03:04:07-03:04:11 missed 3", "done until"}},
		"until, one":            {until, reminder.One, sec(60), running, []string{"03:04:11+2", "done until"}},
		"once":                  {once, reminder.Skip, sec(1, 2, 3), running, []string{"03:04:07+0", "done at"}},
		"once, missed":          {once, reminder.One, sec(99), running, []string{"03:04:07+0", "done at"}},
		"once, all":             {once, reminder.All, sec(99), running, []string{"03:04:07+0", "done at"}},
		"once, skipped":         {once, reminder.Skip, sec(99), running, []string{"03:04:07-03:04:07 missed 1", "done at"}},
		"once, within a second": {once, reminder.Skip, []time.Time{start.Add(2900 * time.Millisecond)}, func(at time.Time) time.Time { return at }, []string{"03:04:07+0", "done at"}},
		"long running, late":    {once, reminder.Skip, sec(11), running, []string{"03:04:07+0", "done at"}},
		"running, too late":     {once, reminder.Skip, sec(13), running, []string{"03:04:07-03:04:07 missed 1", "done at"}},
		"cron":                  {cron, reminder.One, []time.Time{start.Add(49 * time.Hour), start.Add(73 * time.Hour)}, running, []string{"03:05:00+2", "done until"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.schedule.Missed = c.missed
			facts, r := play(t, c.schedule, start, c.at, c.since)
			if !slices.Equal(facts, c.want) {
				t.Errorf("%q, want %q", facts, c.want)
			}
			if done := strings.HasPrefix(c.want[len(c.want)-1], "done"); done != (r.Status == reminder.Done) || done != r.NextAt.IsZero() {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestAllIsBounded: of very many missed due times, the newest are made up for.
func TestAllIsBounded(t *testing.T) {
	facts, r := play(t, events.ReminderSchedule{EveryMS: 60_000, Missed: reminder.All}, start, []time.Time{start.Add(1999*time.Minute + 58*time.Second)}, func(at time.Time) time.Time { return at })
	if len(facts) != 1+reminder.MaxAll || r.Fired != reminder.MaxAll || facts[0] != "03:05:05-19:43:05 missed 999" || r.MissedCount != 999 || !r.NextAt.Equal(start.Add(2000*time.Minute)) {
		t.Errorf("%d facts, the first %s, %+v", len(facts), facts[0], r)
	}
}

// TestSet: a schedule without a due time ahead is refused; a far one is kept.
func TestSet(t *testing.T) {
	for _, c := range []struct {
		schedule events.ReminderSchedule
		want     string // code, or next due time
	}{
		{events.ReminderSchedule{At: start}, "at.past"},
		{events.ReminderSchedule{At: start.Add(1)}, "2026-01-02T03:04:05.000000001Z"},
		{events.ReminderSchedule{At: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}, "9999-12-31T23:59:59Z"},
		{events.ReminderSchedule{At: start.Add(5), Until: start.Add(4)}, "schedule.never"},
		{events.ReminderSchedule{EveryMS: 1000, Until: start}, "until.past"},
		{events.ReminderSchedule{EveryMS: 1000, Until: start.Add(time.Second - 1)}, "schedule.never"},
		{events.ReminderSchedule{EveryMS: 1000, Until: start.Add(time.Second)}, "2026-01-02T03:04:06Z"},
		{events.ReminderSchedule{EveryMS: 100 * 366 * 24 * 3600 * 1000}, "2126-03-19T03:04:05Z"},
		{events.ReminderSchedule{Cron: "0 0 30 2 *", Timezone: "UTC"}, "schedule.never"},
		{events.ReminderSchedule{Cron: "0 9 * * *", Timezone: "America/New_York"}, "2026-01-02T14:00:00Z"},
	} {
		d := reminder.Decide(reminder.Reminder{}, reminder.Command{ID: "r", Type: events.ReminderSet, Schedule: c.schedule}, domain.Metadata{Now: start, Actor: "alice"})
		got := ""
		if d.Refusal != nil {
			got = d.Refusal.Code
		} else if r, err := domain.CarriedState[reminder.Reminder](&d.Events[0]); err != nil || r.SetBy != "alice" || !r.SetAt.Equal(start) {
			t.Errorf("%+v, %v", r, err)
		} else {
			got = r.NextAt.Format(time.RFC3339Nano)
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.schedule, got, c.want)
		}
	}
}

// TestSetAgain: a firing under way goes on with the command that it began with, and does
// not count for the new schedule.
func TestSetAgain(t *testing.T) {
	old := reminder.Reminder{
		Status: reminder.Active, EveryMS: 1000, Command: events.ReminderCommand{Subject: "agent.old.set"}, SetBy: "alice", Fired: 3, MissedCount: 2,
		Pending: &reminder.Pending{Due: start, CommandID: "c1"},
	}
	decide := func(r reminder.Reminder, c reminder.Command) reminder.Reminder {
		t.Helper()
		d := reminder.Decide(r, c, domain.Metadata{Now: start, Actor: "bob"})
		if d.Refusal != nil || len(d.Events) != 1 {
			t.Fatalf("%+v", d)
		}
		after, err := domain.CarriedState[reminder.Reminder](&d.Events[0])
		if err != nil {
			t.Fatal(err)
		}
		return after
	}
	for _, subject := range []string{"agent.new.set", "agent.newer.set"} { // also twice
		r := decide(old, reminder.Command{ID: "r", Type: events.ReminderSet, Schedule: events.ReminderSchedule{EveryMS: 2000, Count: 1, Command: events.ReminderCommand{Subject: subject}}})
		if sent, by := r.Send(); sent.Subject != "agent.old.set" || by != "alice" || r.Command.Subject != subject || r.Fired+r.MissedCount != 0 {
			t.Errorf("sends %+v as %s: %+v", sent, by, r)
		}
		if r = decide(r, reminder.Command{ID: "r", Type: events.ReminderFired, Answer: events.ReminderAnswer{CommandID: "c1", Outcome: "accepted"}}); r.Fired != 0 || r.Status != reminder.Active || r.Last.CommandID != "c1" {
			t.Errorf("%+v", r)
		}
		if sent, by := r.Send(); sent.Subject != subject || by != "bob" {
			t.Errorf("then sends %+v as %s", sent, by)
		}
		old.Pending = &reminder.Pending{Due: start, CommandID: "c1"}
	}
}
