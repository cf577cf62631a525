package reactors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/reminder"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// calendar is a clock that is set, with timers that fire by it, and engines on one journal.
type calendar struct {
	t       *testing.T
	journal *history.History
	random  *rand.Rand

	mu     sync.Mutex
	now    time.Time
	timers map[string]time.Time
}

func (c *calendar) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set implements reactors.Timers.
func (c *calendar) Set(_ context.Context, name string, at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timers[name] = at
	return nil
}

// simulated is one engine.
type simulated struct {
	*commands.Handler
	*reactors.Reminders
}

var errCrash = errors.New("the engine has crashed")

// engine starts an engine. Some of its commands take effect without an answer, and some are
// not sent at all.
func (c *calendar) engine(trouble int) *simulated {
	h := commands.NewHandler(c.journal, commands.Config{Now: c.clock})
	c.t.Cleanup(h.Close)
	last := func(ctx context.Context, name events.AggregateName) (events.Record, bool, error) {
		return c.journal.Last(ctx, name, history.Linearizable)
	}
	send := func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
		c.mu.Lock()
		lost, answered := c.random.IntN(100) < trouble, c.random.IntN(2) == 0
		c.mu.Unlock()
		if lost && !answered {
			return commands.Receipt{}, errCrash
		}
		r, err := h.Send(ctx, req)
		if lost {
			return commands.Receipt{}, errCrash
		}
		return r, err
	}
	return &simulated{h, &reactors.Reminders{Last: last, Timers: c, Send: send, Now: c.clock, Since: c.clock(), Log: slog.New(slog.DiscardHandler)}}
}

// run fires the timers up to a time, each in one or in both engines.
func (c *calendar) run(to time.Time, engines ...*simulated) {
	c.t.Helper()
	for {
		c.mu.Lock()
		name, at := "", to
		for timer, due := range c.timers {
			if !due.After(at) && (name == "" || due.Before(at) || due.Equal(at) && timer < name) {
				name, at = timer, due
			}
		}
		if name == "" {
			c.now = to
			c.mu.Unlock()
			return
		}
		delete(c.timers, name)
		if at.After(c.now) {
			c.now = at
		}
		c.mu.Unlock()
		var open sync.WaitGroup
		for _, e := range engines {
			open.Go(func() {
				if _, err := e.Due(c.t.Context(), name); err != nil { // as the durable timers do
					c.mu.Lock()
					defer c.mu.Unlock()
					if next := c.now.Add(time.Second); c.timers[name].IsZero() || c.timers[name].After(next) {
						c.timers[name] = next
					}
				}
			})
		}
		open.Wait()
	}
}

// TestRemindersOverRestartsAndAChangeOfClocks: each due time of each reminder has its
// effect once, or is missed as the reminder says, over restarts, lost answers, a second
// engine and the night in which the clocks change.
func TestRemindersOverRestartsAndAChangeOfClocks(t *testing.T) {
	t.Parallel()
	start := time.Date(2021, 3, 27, 20, 0, 0, 0, time.UTC) // in Europe/Berlin the clock skips 2:00 to 3:00 of the next day
	c := &calendar{t: t, journal: journaltest.History(t, 2), random: rand.New(rand.NewPCG(1, 2)), now: start, timers: map[string]time.Time{}}
	n := harness.Rounds(40, 500)
	first := c.engine(5)
	for i := range n {
		schedule := []string{
			fmt.Sprintf(`"cron":"%d 2 * * *","timezone":"Europe/Berlin"`, i%60), fmt.Sprintf(`"cron":"%d * * * *","timezone":"Europe/Berlin"`, i%60),
			fmt.Sprintf(`"cron":"%d */3 * * *"`, i%60), `"every_ms":3600000`, fmt.Sprintf(`"every_ms":%d,"count":9`, 1800_000+i*1000),
			fmt.Sprintf(`"at":%q`, start.Add(time.Duration(i*7+1)*time.Minute).Format(time.RFC3339)), fmt.Sprintf(`"every_ms":1500000,"until":%q`, start.Add(9*time.Hour).Format(time.RFC3339)),
		}[i%7]
		body := fmt.Sprintf(`{%s,"missed":%q,"command":{"subject":"agent.a%d.add","body":{"key":"n","delta":1}}}`, schedule, []string{"one", "all", "skip"}[i/7%3], i)
		_, err := first.Handler.Send(t.Context(), commands.Request{Aggregate: "reminder", ID: fmt.Sprint("r", i), Verb: "set", Body: []byte(body)})
		harness.Must(t, err)
		harness.Must(t, first.Reactor().React(t.Context(), events.Record{Event: events.Event{ID: fmt.Sprint("r", i)}}, nil))
	}
	c.run(start.Add(4*time.Hour), first)
	c.now = start.Add(6*time.Hour + 30*time.Minute) // a downtime over the change of the clocks, which is at 5:00
	second := c.engine(5)
	c.run(start.Add(7*time.Hour), second)
	c.run(start.Add(9*time.Hour), second, c.engine(5)) // two engines have every timer
	c.now = start.Add(33 * time.Hour)
	end := start.Add(35 * time.Hour)
	c.run(end, c.engine(0))

	fired, missed := 0, 0
	for i := range n {
		r := c.check(fmt.Sprint("r", i), fmt.Sprint("a", i), start, end)
		fired, missed = fired+r.Fired, missed+r.MissedCount
	}
	t.Logf("%d reminders: %d firings, %d due times missed", n, fired, missed)
	if fired < 6*n || missed < 4*n {
		t.Errorf("%d firings, %d missed: the test shows little", fired, missed)
	}
}

// check compares the events of a reminder with its due times and with the effects.
func (c *calendar) check(id, agent string, start, end time.Time) reminder.Reminder {
	c.t.Helper()
	var r reminder.Reminder
	var due []time.Time // as the events say
	var got []time.Time
	take := func(first, last time.Time, n int) { // n due times up to last
		all := dueTimes(&r, start, end)
		i := slices.IndexFunc(all, last.Equal)
		if i+1 < n || i < 0 || !first.IsZero() && !all[i+1-n].Equal(first) {
			c.t.Errorf("%s: %d due times from %s to %s, of %s", id, n, first, last, all)
			return
		}
		got = append(got, all[i+1-n:i+1]...)
	}
	for _, rec := range commandstest.Stored(c.t, c.journal, events.Reminder(id)) {
		var d struct {
			Due    time.Time `json:"due"`
			First  time.Time `json:"first"`
			Last   time.Time `json:"last"`
			Missed int       `json:"missed_count"`
			Count  int       `json:"count"`
		}
		harness.Must(c.t, json.Unmarshal(rec.Data, &d))
		r = reminder.Reminder{}
		harness.Must(c.t, json.Unmarshal(rec.State, &r))
		switch rec.Type {
		case events.ReminderDue:
			due = append(due, d.Due)
			take(time.Time{}, d.Due, d.Missed+1)
		case events.ReminderMissed:
			take(d.First, d.Last, d.Count)
		}
	}
	want := dueTimes(&r, start, end)
	if r.Count > 0 && r.Fired == r.Count {
		want = want[:len(got)]
	}
	if !slices.EqualFunc(got, want, time.Time.Equal) {
		c.t.Errorf("%s: due\n%s\nwant\n%s", id, got, want)
	}
	effects, _, err := c.journal.Last(c.t.Context(), events.StateEntry(agent, "n"), history.Linearizable)
	harness.Must(c.t, err)
	if int(effects.Version) != r.Fired || len(due) != r.Fired || r.Pending != nil || r.Missed == reminder.All && r.MissedCount > 0 {
		c.t.Errorf("%s: %d effects, %d due, %+v", id, effects.Version, len(due), r)
	}
	return r
}

// dueTimes are those of a reminder, from its own words: of cron expressions "M 2 * * *" and
// the like, minute by minute.
func dueTimes(r *reminder.Reminder, start, end time.Time) (all []time.Time) {
	if !r.Until.IsZero() && r.Until.Before(end) {
		end = r.Until
	}
	switch {
	case !r.At.IsZero():
		if !r.At.After(end) {
			all = append(all, r.At)
		}
	case r.EveryMS > 0:
		for at := start.Add(time.Duration(r.EveryMS) * time.Millisecond); !at.After(end); at = at.Add(time.Duration(r.EveryMS) * time.Millisecond) {
			all = append(all, at)
		}
	default:
		var minute int
		var hours string
		if _, err := fmt.Sscanf(r.Cron, "%d %s", &minute, &hours); err != nil {
			panic(err)
		}
		zone, err := time.LoadLocation(r.Timezone)
		if err != nil {
			panic(err)
		}
		skipped := time.Date(2021, 3, 28, 1, 0, 0, 0, time.UTC)
		for at := start.Add(time.Minute); !at.After(end); at = at.Add(time.Minute) {
			shown := at.In(zone)
			is := shown.Minute() == minute && (hours == "*" || hours == "2" && shown.Hour() == 2 || hours == "*/3" && shown.Hour()%3 == 0)
			if is || at.Equal(skipped) && r.Timezone == "Europe/Berlin" { // 2:MM comes at the change
				all = append(all, at)
			}
		}
	}
	return all
}

// TestReminderIsSentAsItsSetter: the command has the name of the principal that has set the
// reminder; a refusal is recorded, an unavailable store is not.
func TestReminderIsSentAsItsSetter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		setBy, sender string
		answer        error
		want          string // outcome; empty = none
	}{
		"by a principal":    {"alice", "alice", nil, "accepted"},
		"without identity":  {"", identity.Dev, nil, "accepted"},
		"refused":           {"alice", "alice", domain.Errorf(domain.Forbidden, "forbidden", "no"), "refused"},
		"unavailable":       {"alice", "alice", domain.Errorf(domain.Unavailable, "journal.unavailable", "later"), ""},
		"others came first": {"alice", "alice", domain.Errorf(domain.Conflict, "state.contended", "later"), ""},
		"overloaded":        {"alice", "alice", domain.Errorf(domain.Overloaded, "engine.overloaded", "later"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := reminder.Reminder{
				Status: reminder.Active, SetBy: c.setBy, Command: events.ReminderCommand{Subject: "agent.a1.set", Body: []byte(`{}`)},
				Pending: &reminder.Pending{Due: now, CommandID: "c1"},
			}
			outcome := ""
			r := reactors.Reminders{
				Last: func(context.Context, events.AggregateName) (events.Record, bool, error) {
					state, err := json.Marshal(s)
					return events.Record{Event: events.Event{State: state}}, true, err
				},
				Timers: timers{}, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
				Send: func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
					if req.Internal {
						var d events.ReminderAnswer
						harness.Must(t, json.Unmarshal(req.Body, &d))
						if outcome, s.Pending = d.Outcome, nil; req.Verb != "fired" || identity.From(ctx) != nil {
							t.Errorf("sent %+v", req)
						}
						return commands.Receipt{Outcome: domain.Accepted}, nil
					}
					if from := identity.From(ctx); from == nil || from.Principal != c.sender || req.CommandID != "c1" || req.Verb != "set" {
						t.Errorf("%+v sent %+v", from, req)
					}
					return commands.Receipt{Outcome: domain.Accepted}, c.answer
				},
			}
			mine, err := r.Due(t.Context(), "reminder.r1")
			if !mine || (err != nil) != (c.want == "") || outcome != c.want {
				t.Errorf("%v, outcome %q, want %q", err, outcome, c.want)
			}
		})
	}
	// A principal that sends more than it may gets its command later.
	allowed := domain.Errorf(domain.Overloaded, "engine.overloaded", "later")
	sent, asked := 0, ""
	limited := reactors.Reminders{
		Last: func(context.Context, events.AggregateName) (events.Record, bool, error) {
			s := reminder.Reminder{Status: reminder.Active, SetBy: "alice", Command: events.ReminderCommand{Subject: "agent.a1.set"}}
			if sent == 0 {
				s.Pending = &reminder.Pending{Due: now, CommandID: "c1"}
			}
			state, err := json.Marshal(s)
			return events.Record{Event: events.Event{State: state}}, true, err
		},
		Timers: timers{}, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
		Send: func(_ context.Context, req commands.Request) (commands.Receipt, error) {
			if !req.Internal {
				sent++
			}
			return commands.Receipt{Outcome: domain.Accepted}, nil
		},
		Rate: func(principal string) error {
			asked = principal
			if allowed != nil {
				return allowed
			}
			return nil
		},
	}
	if _, err := limited.Due(t.Context(), "reminder.r1"); err == nil || sent != 0 || asked != "alice" {
		t.Errorf("over the rate: %v, %d sent, asked for %q", err, sent, asked)
	}
	allowed = nil
	if _, err := limited.Due(t.Context(), "reminder.r1"); err != nil || sent != 1 {
		t.Errorf("below the rate: %v, %d sent", err, sent)
	}
	r := reactors.Reminders{}
	for timer, want := range map[string]bool{"deadline.t1": false, "reminder.a.b": true, "reminder.": true, "other": false} {
		if mine, err := r.Due(t.Context(), timer); mine != want || err != nil {
			t.Errorf("%s: %t, %v", timer, mine, err)
		}
	}
}
