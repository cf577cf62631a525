package history

import (
	"testing"

	"github.com/tidemark-engine/tidemark/events"
)

// TestFanoutAddsInPieces checks that a cursor that has caught up receives all messages
// in order, even if a full ring of messages is ready.
func TestFanoutAddsInPieces(t *testing.T) {
	h := newFanout(0)
	message := func(revision int) Message {
		return Message{Record: events.Record{Revision: uint64(revision)}}
	}
	more := make(chan Message, fanoutRing)
	for i := range fanoutRing {
		more <- message(i + 2)
	}
	place, last := uint64(0), uint64(0)
	buf := make([]Message, fanoutRing)
	for next := message(1); ; next = <-more {
		h.add(next, more)
		n, covered, err := h.take(t.Context(), &place, buf)
		if !covered || err != nil {
			t.Fatalf("left behind after revision %d: %v", last, err)
		}
		for _, m := range buf[:n] {
			if last++; m.Revision != last {
				t.Fatalf("took revision %d, not %d", m.Revision, last)
			}
		}
		if len(more) == 0 {
			break
		}
	}
	if last != fanoutRing+1 {
		t.Errorf("took %d of %d", last, fanoutRing+1)
	}
}
