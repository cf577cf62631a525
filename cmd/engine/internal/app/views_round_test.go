package app

import (
	"sync"
	"testing"
	"time"
)

// TestViewsRestartedTwice: the guard of the journal and the watch of the disk may both want new
// runners at once. Each gets a round of its own.
func TestViewsRestartedTwice(t *testing.T) {
	v := &views{round: newRound()}
	old := v.round
	old.running.Add(1)
	var both sync.WaitGroup
	between := 0
	for range 2 {
		both.Go(func() { v.restart(func() { between++ }) })
	}
	<-old.ctx.Done()
	time.Sleep(20 * time.Millisecond) // the second one has begun too
	old.running.Done()
	both.Wait()
	if between != 2 || v.round.ctx.Err() != nil || old.ctx.Err() == nil {
		t.Errorf("%d calls between rounds; the round that runs: %v", between, v.round.ctx.Err())
	}
}
