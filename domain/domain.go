// Package domain is the kernel that every aggregate shares: errors by what a
// caller can do, the grammar of names, the limits on JSON, and the shape of a
// decision. It is pure: no clock, no randomness, no I/O.
package domain

import (
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Outcome is what a command that was not refused came to (contract, section 2).
type Outcome string

const (
	Accepted   Outcome = "accepted"   // there are events
	Superseded Outcome = "superseded" // an older write under the timestamp strategy: nothing changed
	Unchanged  Outcome = "unchanged"  // already so: no event
)

// Ask is what a decision may know besides the state and the command.
type Ask struct {
	Now       time.Time // the engine's clock, UTC
	CommandID string
	Revision  uint64 // of the aggregate's last event; 0 = none
}

// Decision is what an aggregate makes of a command. The events carry what the
// aggregate knows; version, command id and digest are added when they are
// appended.
type Decision struct {
	Outcome Outcome
	Events  []events.Event // for the aggregate's own stream, all or nothing
	Loss    *events.Event  // a losing write, for the aggregate's stream of losers
	Refusal *Error         // set = the command is refused; Events is then empty
}

// Refuse is a decision that only refuses.
func Refuse(err *Error) Decision { return Decision{Refusal: err} }
