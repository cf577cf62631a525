package groupcommit

import (
	"testing"

	"github.com/tidemark-engine/tidemark/history"
)

func appendOf(load int64, bytes int) *pending {
	return &pending{writes: make([]history.Write, 1), load: load, bytes: bytes, done: make(chan result, 1)}
}

// A client with little under way goes into the next round, and that round is short.
func TestLightAppendsDoNotWaitForHeavyOnes(t *testing.T) {
	const large, load = 100 << 10, 4 << 20
	var l lane
	for range 100 {
		l.add(appendOf(load, large))
	}
	if n := len(l.next()); n != roundBytes/large {
		t.Errorf("without a light client a round has %d appends", n)
	}
	light := appendOf(1<<10, 100)
	l.add(light)
	round := l.next()
	if len(round) != 1+roundBytes/shortRound/large || round[1] != light {
		t.Errorf("the light append is not the second of %d", len(round))
	}
	if n := len(l.next()); n != roundBytes/shortRound/large {
		t.Errorf("after a light append a round has %d appends", n)
	}
}

// Clients that wait for their answers do not delay others, however much their loads differ.
func TestRoundsAreLongForModestLoads(t *testing.T) {
	var l lane
	for i := range MaxBatch {
		l.add(appendOf(int64(1+i%64)<<10, 300))
	}
	for range 2 {
		if n := len(l.next()); n != MaxBatch {
			t.Errorf("a round has %d appends", n)
		}
		for i := range MaxBatch {
			l.add(appendOf(int64(1+i%64)<<10, 300))
		}
	}
}
