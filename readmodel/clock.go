package readmodel

import (
	"sync/atomic"
	"time"
)

// coarseClock is the clock of the memory tier's TTL, which asks for the time
// with each read: that would take longer than the rest of the read. This one
// looks at the real clock a few times a second. It ends with stop.
type coarseClock struct {
	nano atomic.Int64
	stop chan struct{}
}

// coarseStep is how far the clock may be behind, of minutes that matter.
const coarseStep = 100 * time.Millisecond

func newCoarseClock() *coarseClock {
	c := &coarseClock{stop: make(chan struct{})}
	c.nano.Store(time.Now().UnixNano())
	go c.run()
	return c
}

func (c *coarseClock) run() {
	step := time.NewTicker(coarseStep)
	defer step.Stop()
	for {
		select {
		case now := <-step.C:
			c.nano.Store(now.UnixNano())
		case <-c.stop:
			return
		}
	}
}

// NowNano implements otter.Clock.
func (c *coarseClock) NowNano() int64 { return c.nano.Load() }

// Tick implements otter.Clock.
func (c *coarseClock) Tick(d time.Duration) <-chan time.Time { return time.NewTicker(d).C }
