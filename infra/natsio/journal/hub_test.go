package journal

import (
	"testing"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// However much waits behind a message, whoever is level when it is added can
// take all of it, in order.
func TestHubAddsInPieces(t *testing.T) {
	h := newFanout(0)
	message := func(revision int) history.Message {
		return history.Message{Record: events.Record{Revision: uint64(revision)}}
	}
	more := make(chan history.Message, hubRing)
	for i := range hubRing {
		more <- message(i + 2)
	}
	place, last := uint64(0), uint64(0)
	buf := make([]history.Message, hubRing)
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
	if last != hubRing+1 {
		t.Errorf("took %d of %d", last, hubRing+1)
	}
}
