package events

import (
	"errors"
	"fmt"
)

// An event is stored once and never rewritten. An event of an older schema is
// upcast when it is read, step by step from each schema to the next. The steps are
// kept for ever (docs/adr/0009).

// ErrNewer: a later build wrote the event.
var ErrNewer = errors.New("this engine is older than the journal")

// upcaster turns events of any schema into events of the newest.
type upcaster struct {
	first int // the oldest schema
	// steps lead from each schema to the next. A step changes members of the
	// event. It replaces Data and State and never changes their bytes, which are
	// the stored ones. It leaves event types that the schema did not change.
	steps []func(*Event) error
}

// shipped are the schemas that builds have written so far.
var shipped = upcaster{first: 1}

func (u *upcaster) newest() int { return u.first + len(u.steps) }

// read upcasts a stored event to the newest schema.
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

// Stored is the event as the journal has it: the digest is computed from it, and
// it is copied byte for byte. For an event of this build's schema it is e.
func (e *Event) Stored() *Event {
	if e.stored != nil {
		return e.stored
	}
	return e
}
