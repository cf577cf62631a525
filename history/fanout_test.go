package history

import (
	"testing"

	"github.com/tidemark-engine/tidemark/events"
)

// However much waits behind a message, a user that had caught up when it is added can
// take all of it, in order.
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
		n, level, err := h.take(t.Context(), &place, buf)
		if !level || err != nil {
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
