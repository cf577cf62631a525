package events

import (
	"errors"
	"fmt"
)

// An event is stored once and never rewritten. What an older build has written
// is read as this build would have: step by step, from each schema to the next.
// The steps are kept for ever (docs/adr/0009).

// ErrNewer means that a later build has written the event.
var ErrNewer = errors.New("this engine is older than the journal")

// upcaster reads events of any schema there was as the newest.
type upcaster struct {
	first int // the oldest schema
	// steps are from each schema to the next. A step changes members of the
	// event, and makes new bytes where it changes Data or State: those it is
	// given are the stored ones. Event types that a schema left as they were
	// pass unchanged.
	steps []func(*Event) error
}

// shipped is what every build so far has written.
var shipped = upcaster{first: 1}

func (u *upcaster) newest() int { return u.first + len(u.steps) }

// read makes an event, as it is stored, one of the newest schema.
func (u *upcaster) read(ev *Event) error {
	switch {
	case ev.Schema > u.newest():
		return fmt.Errorf("%w: schema %d is not known here (up to %d)", ErrNewer, ev.Schema, u.newest())
	case ev.Schema < u.first:
		return fmt.Errorf("there is no schema %d", ev.Schema)
	case ev.Schema == u.newest():
		return nil
	}
	stored := *ev
	for ev.Schema < u.newest() {
		if err := u.steps[ev.Schema-u.first](ev); err != nil {
			return fmt.Errorf("read schema %d as %d: %w", ev.Schema, ev.Schema+1, err)
		}
		ev.Schema++
	}
	ev.stored = &stored
	return nil
}

// Stored is the event as the journal has it: what its digest is of, and what is
// handed on byte for byte. For an event of this build's schema that is itself.
func (e *Event) Stored() *Event {
	if e.stored != nil {
		return e.stored
	}
	return e
}
