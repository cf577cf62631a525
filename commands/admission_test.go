package commands

import (
	"context"
	"errors"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
)

// A refused command does not count, whichever limit it met.
func TestAdmissionIsBoundedByNumberAndBySize(t *testing.T) {
	a := admission{max: holding{3, 100}}
	for i, step := range []struct {
		commands, bytes int
		taken           bool
	}{{2, 60, true}, {1, 41, false}, {2, 1, false}, {1, 40, true}, {1, 0, false}} {
		checkTaken(t, i, a.enter(t.Context(), false, step.commands, step.bytes), step.taken)
	}
	checkTaken(t, -1, a.enter(t.Context(), true, 1, 50), true)
	a.leave(t.Context(), 4, 150)
	if a.used != (holding{}) {
		t.Errorf("%+v is left", a.used)
	}
}

// Greedy clients, however many, leave room for the others.
func TestAdmissionLeavesRoomForOtherClients(t *testing.T) {
	a := admission{max: holding{1000, 1000}}
	var open []context.Context
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		client := WithClient(t.Context(), name)
		for a.enter(client, false, 1, 0) == nil {
			open = append(open, client)
		}
	}
	honest := WithClient(t.Context(), "honest")
	for i, step := range []struct {
		commands int
		taken    bool
	}{{1, true}, {500, false}, {1, true}} {
		checkTaken(t, i, a.enter(honest, false, step.commands, 0), step.taken)
	}
	a.leave(honest, 2, 0)
	for _, client := range open {
		a.leave(client, 1, 0)
	}
	if a.used.commands != 0 || len(a.clients) != 0 {
		t.Errorf("%+v, %v are left", a.used, a.clients)
	}
	checkTaken(t, -1, a.enter(honest, false, 500, 0), true)
}

func checkTaken(t *testing.T, step int, err error, taken bool) {
	t.Helper()
	var known *domain.Error
	if taken != (err == nil) || err != nil && (!errors.As(err, &known) || known.Kind != domain.Overloaded) {
		t.Errorf("step %d: %v", step, err)
	}
}
