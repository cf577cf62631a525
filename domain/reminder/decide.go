package reminder

import (
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Command is a command on a reminder.
type Command struct {
	ID       string
	Type     string // of the event it leads to; ReminderDue may lead to ReminderMissed instead
	Schedule events.ReminderSchedule
	Due      Due
	Answer   events.ReminderAnswer
	Request  string
}

// Due asks for what comes of the due time NextAt of the schedule that was set at SetAt.
type Due struct {
	SetAt, NextAt time.Time
	CommandID     string    // of the command to send
	Since         time.Time // when the engine that asks has started
}

const (
	// startGrace is how late a due time before the start of the engine may be without
	// being missed: another engine may have stopped only now.
	startGrace = time.Second
	// grace is how late any due time may be without being missed.
	grace = 10 * time.Second
	// MaxAll is the number of missed due times that are made up for under All.
	MaxAll = 1000
)

// Decide decides a command: 404 reminder.not_found before the reminder is set, 400 for a
// schedule that has no due time ahead, 422 reminder.done for a cancel after its end. An
// engine's command that the reminder has left behind is unchanged.
func Decide(r Reminder, c Command, meta domain.Metadata) domain.Decision {
	evs, refusal := decide(r, c, meta)
	if refusal != nil {
		return domain.Refuse(refusal)
	}
	if len(evs) == 0 {
		return domain.Decision{Outcome: domain.Unchanged}
	}
	all := make([]events.Event, len(evs))
	for i, ev := range evs {
		data, err := domain.Encode(ev.data)
		if err != nil {
			return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
		}
		all[i] = events.Event{Type: ev.typ, Aggregate: "reminder", ID: c.ID, Timestamp: meta.Now, Data: data}
	}
	if err := domain.CarryState(r, all, Evolve); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: all}
}

// fact is an event's type and data.
type fact struct {
	typ  string
	data any
}

func decide(r Reminder, c Command, meta domain.Metadata) ([]fact, *domain.Error) {
	switch {
	case c.Type == events.ReminderSet:
		return decideSet(c, meta)
	case r.Status == "":
		return nil, domain.Errorf(domain.NotFound, "reminder.not_found", "there is no reminder %s", c.ID)
	case c.Type == events.ReminderCancelled && r.Status == Done:
		return nil, domain.Errorf(domain.Rejected, "reminder.done", "reminder %s is done: it cannot be cancelled", c.ID).With("status", string(r.Status))
	case c.Type == events.ReminderCancelled && r.Status == Active:
		return []fact{{c.Type, events.Plain{Request: c.Request}}}, nil
	case c.Type == events.ReminderFired && r.Pending != nil && r.Pending.CommandID == c.Answer.CommandID:
		answer := c.Answer
		answer.Due, answer.Request = r.Pending.Due, c.Request
		evs := []fact{{c.Type, answer}}
		if r.Status == Active && r.NextAt.IsZero() {
			r.Fired++
			evs = append(evs, r.done(c.Request))
		}
		return evs, nil
	case c.Type == events.ReminderDue && r.Status == Active && r.Pending == nil && !r.NextAt.IsZero() &&
		r.SetAt.Equal(c.Due.SetAt) && r.NextAt.Equal(c.Due.NextAt) && !meta.Now.Before(r.NextAt):
		return decideDue(r, c, meta)
	}
	return nil, nil
}

func decideSet(c Command, meta domain.Metadata) ([]fact, *domain.Error) {
	d := c.Schedule
	now := meta.Now.Format(time.RFC3339Nano)
	switch {
	case !d.At.IsZero() && !d.At.After(meta.Now):
		return nil, domain.Errorf(domain.Invalid, "at.past", "at %s is not ahead of the engine's %s", d.At.Format(time.RFC3339Nano), now)
	case !d.Until.IsZero() && !d.Until.After(meta.Now):
		return nil, domain.Errorf(domain.Invalid, "until.past", "until %s is not ahead of the engine's %s", d.Until.Format(time.RFC3339Nano), now)
	}
	var err error
	if d.NextAt, err = First(&d, meta.Now); err != nil {
		return nil, domain.Errorf(domain.Invalid, "cron.invalid", "cron %.64q in timezone %.64q: %v", d.Cron, d.Timezone, err)
	}
	if d.NextAt.IsZero() || !d.Until.IsZero() && d.NextAt.After(d.Until) {
		return nil, domain.Errorf(domain.Invalid, "schedule.never", "the schedule has no due time after %s", now)
	}
	d.SetBy, d.Request = meta.Actor, c.Request
	return []fact{{events.ReminderSet, d}}, nil
}

// First is the first due time of a schedule that is set now; zero = there is none.
func First(d *events.ReminderSchedule, now time.Time) (time.Time, error) {
	if !d.At.IsZero() {
		return d.At, nil
	}
	next := (Reminder{}).set(d, now)
	s, err := next.schedule()
	if err != nil {
		return time.Time{}, err
	}
	return s.after(now), nil
}

// decideDue decides about the due times up to now. Those that are late are missed: what
// becomes of them depends on Missed. Any other one fires.
func decideDue(r Reminder, c Command, meta domain.Metadata) ([]fact, *domain.Error) {
	s, err := r.schedule()
	if err != nil { // a time zone that this build does not know
		return nil, domain.Errorf(domain.Rejected, "cron.invalid", "reminder %s: %v", c.ID, err)
	}
	first := r.NextAt
	late, last := s.upTo(first, lateUpTo(meta.Now, c.Due.Since))
	miss := func(n int, last time.Time) []fact {
		next := s.after(last)
		evs := []fact{{events.ReminderMissed, events.ReminderMiss{Count: n, First: first, Last: last, NextAt: next, Request: c.Request}}}
		if r.NextAt = next; next.IsZero() {
			evs = append(evs, r.done(c.Request))
		}
		return evs
	}
	due := events.ReminderDueTime{Due: first, CommandID: c.Due.CommandID, Request: c.Request}
	switch {
	case late == 0:
	case r.Missed == Skip:
		return miss(late, last), nil
	case r.Missed == All && late > MaxAll:
		return miss(late-MaxAll, s.nth(first, late-MaxAll-1)), nil
	case r.Missed == One:
		due.Due, due.Missed = last, late-1
	}
	if r.Count == 0 || r.Fired+1 < r.Count {
		due.NextAt = s.after(due.Due)
	}
	return []fact{{events.ReminderDue, due}}, nil
}

// lateUpTo is the last moment of due times that are missed.
func lateUpTo(now, since time.Time) time.Time {
	started := now.Add(-startGrace)
	if since.Before(started) {
		started = since
	}
	if limit := now.Add(-grace); limit.After(started) {
		return limit
	}
	return started
}

func (r *Reminder) done(request string) fact {
	d := events.ReminderEnd{Reason: "until", Fired: r.Fired, Request: request}
	switch {
	case r.Count > 0 && r.Fired >= r.Count:
		d.Reason = "count"
	case !r.At.IsZero():
		d.Reason = "at"
	}
	return fact{events.ReminderDone, d}
}
