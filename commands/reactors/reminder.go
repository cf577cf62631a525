package reactors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/reminder"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// reminderTimer is the prefix of the names of the timers of reminders.
const reminderTimer = "reminder."

const (
	// fireTime is how long one timer works on a reminder that is due many times; then
	// another timer goes on.
	fireTime = 2 * time.Second
	// nearTime is how far ahead a due time is kept by this engine too: a timer takes up
	// to a second to be set and to fire.
	nearTime = 3 * time.Second
	// nearLimit is the number of due times that are kept so.
	nearLimit = 10_000
)

// Reminders is the process manager of reminders. When a due time has come, it appends
// the event reminder.due, sends the command with an id that is derived from the
// reminder and the due time, and appends the answer as reminder.fired. The last event of
// the reminder says how far this has come, so that any engine goes on with it, and the
// command takes effect once.
type Reminders struct {
	Last   LastEvent
	Timers Timers
	Send   Send
	Now    func() time.Time
	Since  time.Time                                // when this engine has started: due times before it may be missed
	Near   bool                                     // due times that are near are kept in memory too
	Fired  func(outcome string, late time.Duration) // observes every firing; nil = nothing does
	// Rate counts a command as one of the principal that has set the reminder, or refuses it with
	// 429: then it is sent later. nil = it is not counted.
	Rate func(principal string) error
	Log  *slog.Logger

	mu      sync.Mutex
	near    map[string]*time.Timer
	busy    map[string]chan struct{} // closed when the work on a reminder has ended
	stopped bool
	running sync.WaitGroup
}

// Reactor sets a timer for every reminder that is set.
func (r *Reminders) Reactor() Reactor {
	return Reactor{
		Name: "reminder", Types: []string{events.ReminderSet}, Subjects: []string{"reminder.>"},
		React: func(ctx context.Context, rec events.Record, _ Send) error { return r.arm(ctx, rec.ID) },
	}
}

// state reads the reminder at the leader; ok is false if there is none.
func (r *Reminders) state(ctx context.Context, id string) (s reminder.Reminder, ok bool, err error) {
	rec, ok, err := r.Last(ctx, events.Reminder(id))
	if err != nil || !ok {
		return s, false, err
	}
	if err := json.Unmarshal(rec.State, &s); err != nil {
		return s, false, fmt.Errorf("read the state of reminder %s: %w", id, err)
	}
	return s, true, nil
}

// dueAt is when there is work for a timer; false = there is none.
func dueAt(s *reminder.Reminder, now time.Time) (time.Time, bool) {
	if s.Pending != nil {
		return now, true
	}
	return s.NextAt, s.Status == reminder.Active && !s.NextAt.IsZero()
}

// arm sets the timer of a reminder for its next due time. It reads the reminder again
// afterwards: of two engines that arm it, the one with the older state may be the last.
func (r *Reminders) arm(ctx context.Context, id string) error {
	var set time.Time // zero = not yet
	for now := r.Now(); ; {
		s, ok, err := r.state(ctx, id)
		if err != nil || !ok {
			return err
		}
		at, ok := dueAt(&s, now)
		if !ok || at.Equal(set) {
			return nil
		}
		set = at
		if err := r.Timers.Set(ctx, reminderTimer+id, set); err != nil {
			return err
		}
		r.keepNear(id, set)
	}
}

// rearmReminder sets the timer of a reminder again, from the state in its last event;
// set reports whether it has one.
func rearmReminder(ctx context.Context, timers Timers, rec *events.Record) (set bool, err error) {
	var s reminder.Reminder
	if err := json.Unmarshal(rec.State, &s); err != nil {
		return false, nil // an unreadable state has no due time
	}
	at, ok := dueAt(&s, rec.RecordedAt)
	if !ok {
		return false, nil
	}
	return true, timers.Set(ctx, reminderTimer+rec.ID, at)
}

// Due handles a timer that fired; mine is false if it is not that of a reminder. The
// reminder and the clock decide, not the message, which any client may send: it never
// fires early.
func (r *Reminders) Due(ctx context.Context, timer string) (mine bool, err error) {
	id, mine := strings.CutPrefix(timer, reminderTimer)
	if !mine || domain.CheckID("reminder id", id) != nil {
		return mine, nil
	}
	return true, r.fire(ctx, id)
}

// fire does what is due of a reminder.
func (r *Reminders) fire(ctx context.Context, id string) error {
	defer r.alone(id)()
	start := time.Now()
	for {
		s, ok, err := r.state(ctx, id)
		if err != nil || !ok {
			return err
		}
		switch at, ok := dueAt(&s, time.Time{}); {
		case !ok:
			return nil
		case r.Now().Before(at):
			return r.arm(ctx, id)
		case time.Since(start) > fireTime:
			return r.Timers.Set(ctx, reminderTimer+id, r.Now())
		case s.Pending != nil:
			err = r.answer(ctx, id, &s)
		default:
			err = r.take(ctx, id, &s)
		}
		if err != nil {
			return fmt.Errorf("reminder %s: %w", id, err)
		}
	}
}

// take appends what comes of the next due time.
func (r *Reminders) take(ctx context.Context, id string, s *reminder.Reminder) error {
	identifiers := []string{id, s.SetAt.Format(time.RFC3339Nano), s.NextAt.Format(time.RFC3339Nano)}
	receipt, err := r.internal(ctx, id, "due", derivedID(s.NextAt, append(identifiers, "due")...), commands.ReminderDue{
		SetAt: s.SetAt, NextAt: s.NextAt, CommandID: derivedID(s.NextAt, append(identifiers, "command")...), Since: r.Since,
	})
	if err == nil && receipt.Outcome == domain.Unchanged {
		if after, ok, err := r.state(ctx, id); err != nil || ok && after.SetAt.Equal(s.SetAt) && after.NextAt.Equal(s.NextAt) && after.Pending == nil {
			return errors.Join(err, errors.New("its due time has not come by the clock of the command"))
		}
	}
	return err
}

// answer sends the command of the firing under way and appends its answer. A command
// that may not have taken effect is an error: it is sent again.
func (r *Reminders) answer(ctx context.Context, id string, s *reminder.Reminder) error {
	p := s.Pending
	a := events.ReminderAnswer{Due: p.Due, CommandID: p.CommandID, Outcome: reminder.Refused}
	receipt, err := r.command(ctx, s)
	var refused *domain.Error
	switch {
	case err == nil:
		a.Outcome, a.Version, a.Revision = string(receipt.Outcome), receipt.Version, receipt.Revision
	case IsRefusal(err) && errors.As(err, &refused):
		a.Error = &events.ReminderError{Code: refused.Code, Status: refused.Kind.Status(), Message: refused.Message}
		r.Log.Warn("the command of a reminder was refused", "reminder", id, "command_id", p.CommandID, "code", refused.Code)
	default:
		return err
	}
	receipt, err = r.internal(ctx, id, "fired", derivedID(p.Due, id, p.CommandID, "fired"), a)
	if err == nil && r.Fired != nil && !receipt.Replayed && receipt.Outcome == domain.Accepted {
		r.Fired(a.Outcome, r.Now().Sub(p.Due))
	}
	return err
}

// command sends the command of the firing under way as the principal that has set the
// reminder, with its grants of now.
func (r *Reminders) command(ctx context.Context, s *reminder.Reminder) (commands.Receipt, error) {
	c, sender := s.Send()
	aggregate, id, verb, err := commands.ParseSubject(c.Subject)
	if err != nil {
		return commands.Receipt{}, err
	}
	if sender == "" {
		sender = identity.Dev
	}
	if r.Rate != nil && sender != identity.Dev { // DEV is many clients
		if err := r.Rate(sender); err != nil {
			return commands.Receipt{}, err
		}
	}
	ctx = identity.With(ctx, &identity.Caller{Principal: sender})
	return r.Send(ctx, commands.Request{Aggregate: aggregate, ID: id, Verb: verb, CommandID: s.Pending.CommandID, Body: c.Body})
}

func (r *Reminders) internal(ctx context.Context, id, verb, commandID string, body any) (commands.Receipt, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return commands.Receipt{}, err
	}
	return r.Send(ctx, commands.Request{Aggregate: "reminder", ID: id, Verb: verb, CommandID: commandID, Internal: true, Body: text})
}
