package commands

import (
	"errors"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
)

// A refused command does not count, whichever limit it met.
func TestAdmissionIsBoundedByNumberAndBySize(t *testing.T) {
	a := admission{maxCommands: 3, maxBytes: 100}
	for i, step := range []struct {
		commands, bytes int
		taken           bool
	}{{2, 60, true}, {1, 41, false}, {2, 1, false}, {1, 40, true}, {1, 0, false}} {
		err := a.enter(step.commands, step.bytes)
		var known *domain.Error
		if step.taken != (err == nil) || err != nil && (!errors.As(err, &known) || known.Kind != domain.Overloaded) {
			t.Errorf("step %d: %v", i, err)
		}
	}
	a.leave(3, 100)
	if a.commands.Load() != 0 || a.bytes.Load() != 0 {
		t.Errorf("%d commands and %d bytes are left", a.commands.Load(), a.bytes.Load())
	}
}
