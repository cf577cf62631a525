package events

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Types of the events of a reminder.
const (
	ReminderSet       = "reminder.set"
	ReminderDue       = "reminder.due"   // a due time has come: its command is under way
	ReminderFired     = "reminder.fired" // the command was answered
	ReminderMissed    = "reminder.missed"
	ReminderCancelled = "reminder.cancelled"
	ReminderDone      = "reminder.done"
	ReminderErased    = "reminder.erased" // the content is gone with the agent that it belonged to
)

// Reminder is the name of a reminder.
func Reminder(id string) AggregateName { return AggregateName("reminder." + id) }

// ReminderCommand is the command that a reminder sends.
type ReminderCommand struct {
	Subject string         `json:"subject"` // <aggregate>.<id>.<verb>
	Body    jsontext.Value `json:"body,omitzero"`
}

// ReminderSchedule is the data of ReminderSet. One of At, EveryMS and Cron is set.
type ReminderSchedule struct {
	At       time.Time       `json:"at,omitzero"`
	EveryMS  int64           `json:"every_ms,omitzero"`
	Cron     string          `json:"cron,omitempty"`
	Timezone string          `json:"timezone,omitempty"` // of Cron, IANA
	Until    time.Time       `json:"until,omitzero"`     // no due time after it
	Count    int             `json:"count,omitzero"`     // largest number of firings; 0 = no limit
	Missed   string          `json:"missed"`             // one, all or skip
	Command  ReminderCommand `json:"command"`
	AgentID  string          `json:"agent_id,omitempty"` // the agent that it is for
	Owner    string          `json:"owner,omitempty"`    // the agent whose key encrypts the content
	SetBy    string          `json:"set_by,omitempty"`   // the principal that the command is sent as
	NextAt   time.Time       `json:"next_at"`            // the first due time
	Request  string          `json:"request"`
}

// ReminderDueTime is the data of ReminderDue.
type ReminderDueTime struct {
	Due       time.Time `json:"due"`
	CommandID string    `json:"command_id"`            // of the command that is sent
	Missed    int       `json:"missed_count,omitzero"` // earlier due times that this firing stands for
	NextAt    time.Time `json:"next_at,omitzero"`      // zero = there is none
	Request   string    `json:"request"`
}

// ReminderAnswer is the data of ReminderFired.
type ReminderAnswer struct {
	Due       time.Time      `json:"due"`
	CommandID string         `json:"command_id"` // of the command that was sent
	Outcome   string         `json:"outcome"`    // accepted, superseded, unchanged or refused
	Error     *ReminderError `json:"error,omitempty"`
	Version   uint64         `json:"version,omitzero"`  // of the command's aggregate
	Revision  uint64         `json:"revision,omitzero"` // of the command's event
	Request   string         `json:"request"`
}

// ReminderError is why a command was refused.
type ReminderError struct {
	Code    string `json:"code"`
	Status  int    `json:"status"`
	Message string `json:"message,omitempty"`
}

// ReminderMiss is the data of ReminderMissed.
type ReminderMiss struct {
	Count   int       `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	NextAt  time.Time `json:"next_at,omitzero"` // zero = there is none
	Request string    `json:"request"`
}

// ReminderEnd is the data of ReminderDone.
type ReminderEnd struct {
	Reason  string `json:"reason"` // at, count or until
	Fired   int    `json:"fired"`
	Request string `json:"request"`
}
