// Package reminder decides commands on reminders: a reminder sends a fixed command at
// one time, periodically, or by a cron expression, until it is cancelled or done.
package reminder

import (
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
)

// Status of a reminder; empty = not set.
type Status string

const (
	Active    Status = "active"
	Done      Status = "done"
	Cancelled Status = "cancelled"
)

// What to do with due times at which no engine ran.
const (
	One  = "one"  // the command is sent once for all of them
	All  = "all"  // once for each
	Skip = "skip" // not at all
)

// Refused is the outcome of a command that was refused.
const Refused = "refused"

// Reminder is the state of a reminder, which views store as it is.
type Reminder struct {
	Status      Status                 `json:"status"`
	At          time.Time              `json:"at,omitzero"`
	EveryMS     int64                  `json:"every_ms,omitzero"`
	Cron        string                 `json:"cron,omitempty"`
	Timezone    string                 `json:"timezone,omitempty"`
	Until       time.Time              `json:"until,omitzero"`
	Count       int                    `json:"count,omitzero"`
	Missed      string                 `json:"missed"`
	Command     events.ReminderCommand `json:"command"`
	AgentID     string                 `json:"agent_id,omitempty"`
	Owner       string                 `json:"owner,omitempty"` // the agent whose key encrypts the content
	SetBy       string                 `json:"set_by,omitempty"`
	SetAt       time.Time              `json:"set_at,omitzero"`
	NextAt      time.Time              `json:"next_at,omitzero"` // zero = it is not due any more
	Fired       int                    `json:"fired"`
	MissedCount int                    `json:"missed_count"`      // due times without a firing of their own
	Pending     *Pending               `json:"pending,omitempty"` // the firing under way
	Last        *Last                  `json:"last,omitempty"`    // the last answered firing
	EndedAt     time.Time              `json:"ended_at,omitzero"`
}

// Pending is a firing whose command has not been answered.
type Pending struct {
	Due       time.Time `json:"due"`
	CommandID string    `json:"command_id"`
	// Replaced is the command, and SetBy its sender, if the reminder was set again since.
	Replaced *events.ReminderCommand `json:"replaced,omitempty"`
	SetBy    string                  `json:"set_by,omitempty"`
}

// Last is an answered firing.
type Last struct {
	Due       time.Time             `json:"due"`
	At        time.Time             `json:"at"` // when it was answered
	CommandID string                `json:"command_id"`
	Outcome   string                `json:"outcome"`
	Error     *events.ReminderError `json:"error,omitempty"`
	Version   uint64                `json:"version,omitzero"`
	Revision  uint64                `json:"revision,omitzero"`
}

// Evolve is the reminder after one more event. Unknown types change nothing.
func Evolve(r Reminder, ev *events.Event) (Reminder, error) {
	switch ev.Type {
	case events.ReminderSet:
		var d events.ReminderSchedule
		err := json.Unmarshal(ev.Data, &d)
		return r.set(&d, ev.Timestamp), err
	case events.ReminderDue:
		var d events.ReminderDueTime
		err := json.Unmarshal(ev.Data, &d)
		r.Pending, r.NextAt = &Pending{Due: d.Due, CommandID: d.CommandID}, d.NextAt
		r.MissedCount += d.Missed
		return r, err
	case events.ReminderFired:
		var d events.ReminderAnswer
		err := json.Unmarshal(ev.Data, &d)
		if r.Pending == nil || r.Pending.Replaced == nil {
			r.Fired++
		}
		r.Pending = nil
		r.Last = &Last{
			Due: d.Due, At: ev.Timestamp, CommandID: d.CommandID, Outcome: d.Outcome, Error: d.Error, Version: d.Version, Revision: d.Revision,
		}
		return r, err
	case events.ReminderMissed:
		var d events.ReminderMiss
		err := json.Unmarshal(ev.Data, &d)
		r.NextAt = d.NextAt
		r.MissedCount += d.Count
		return r, err
	case events.ReminderCancelled:
		return r.ended(Cancelled, ev.Timestamp), nil
	case events.ReminderDone:
		return r.ended(Done, ev.Timestamp), nil
	case events.ReminderErased:
		if r.Status == Active {
			r = r.ended(Cancelled, ev.Timestamp)
		}
		_, r = r.Outline()
		r.Pending = nil
		return r, nil
	}
	return r, nil
}

func (r Reminder) set(d *events.ReminderSchedule, at time.Time) Reminder {
	pending := r.Pending
	if pending != nil && pending.Replaced == nil {
		old := *pending
		old.Replaced, old.SetBy = &r.Command, r.SetBy
		pending = &old
	}
	return Reminder{
		Status: Active, At: d.At, EveryMS: d.EveryMS, Cron: d.Cron, Timezone: d.Timezone, Until: d.Until, Count: d.Count,
		Missed: d.Missed, Command: d.Command, AgentID: d.AgentID, Owner: d.Owner, SetBy: d.SetBy, SetAt: at, NextAt: d.NextAt,
		Pending: pending, Last: r.Last,
	}
}

func (r Reminder) ended(as Status, at time.Time) Reminder {
	r.Status, r.NextAt, r.EndedAt = as, time.Time{}, at
	return r
}

// Outline is the agent that the reminder belongs to, empty = none, and the reminder
// without its content.
func (r Reminder) Outline() (agent string, outline Reminder) {
	r.Command.Body = nil
	if r.Last != nil && r.Last.Error != nil {
		last, cause := *r.Last, *r.Last.Error
		cause.Message = ""
		last.Error = &cause
		r.Last = &last
	}
	if r.Pending != nil && r.Pending.Replaced != nil {
		pending, replaced := *r.Pending, *r.Pending.Replaced
		replaced.Body = nil
		pending.Replaced = &replaced
		r.Pending = &pending
	}
	return r.Owner, r
}

// Send is the command of the firing under way, and the principal that it is sent as.
func (r *Reminder) Send() (events.ReminderCommand, string) {
	if r.Pending != nil && r.Pending.Replaced != nil {
		return *r.Pending.Replaced, r.Pending.SetBy
	}
	return r.Command, r.SetBy
}

func (r *Reminder) schedule() (*schedule, error) {
	s := &schedule{every: time.Duration(r.EveryMS) * time.Millisecond, until: r.Until}
	if r.Cron == "" {
		return s, nil
	}
	var err error
	if s.cron, err = ParseCron(r.Cron); err == nil {
		s.zone, err = LoadZone(r.Timezone)
	}
	return s, err
}
