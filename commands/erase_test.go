package commands

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// notes counts the notes of erasures that have begun.
type notes struct {
	Eraser
	begun atomic.Int32
}

func (n *notes) Begin(context.Context, Erasure) ([]string, error) {
	n.begun.Add(1)
	return []string{"earlier"}, nil
}

// An erasure under way stores its note again, sooner than another engine takes it over, and not
// after its end: the note would say that it goes on.
func TestAnErasureUnderWayNotesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notes{}
		h := &Handler{cfg: Config{Eraser: n}}
		interrupted, stopNoting, err := h.beginErasure(t.Context(), &Erasure{Agent: "a"})
		if err != nil || len(interrupted) != 1 || n.begun.Load() != 1 {
			t.Fatalf("%q, %v, %d notes", interrupted, err, n.begun.Load())
		}
		time.Sleep(25 * time.Second)
		if got := n.begun.Load(); got != 3 {
			t.Errorf("%d notes after 25 s, want 3", got)
		}
		stopNoting()
		stopNoting() // it may be called again
		time.Sleep(time.Minute)
		if got := n.begun.Load(); got != 3 {
			t.Errorf("%d notes after the end, want 3", got)
		}
	})
}
