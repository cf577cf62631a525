// Package domain is the kernel that every aggregate shares: errors classed by what the
// caller can do, the grammar of names, the limits on JSON, and the shape of a
// decision. It is pure: no clock, no randomness, no I/O.
package domain

import (
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Outcome is the result of a command that was not refused (contract, section 2).
type Outcome string

const (
	Accepted   Outcome = "accepted"   // the aggregate has new events
	Superseded Outcome = "superseded" // an older write under the timestamp strategy: nothing changed
	Unchanged  Outcome = "unchanged"  // the state is already as asked for: no event
)

// Metadata is what a decision may use besides the state and the command.
type Metadata struct {
	Now       time.Time // the engine's clock, UTC
	CommandID string
	Actor     string // the authenticated sender; empty = there is no identity
	Revision  uint64 // of the aggregate's last event; 0 = none, or it is appended with this command
	Before    uint64 // how many revisions the aggregate's last event is before a losing write of this command, if both are appended together
	Version   uint64 // of the aggregate's last event; 0 = none
}

// Decision is an aggregate's answer to a command. Version, command id and digest
// of the events are added when they are appended.
type Decision struct {
	Outcome Outcome
	Events  []events.Event // of the aggregate, all or nothing
	Loss    *events.Event  // a losing write, kept beside the aggregate
	Refusal *Error         // the command is refused; Events is then empty
}

// Refuse is a decision without events or loss.
func Refuse(err *Error) Decision { return Decision{Refusal: err} }
