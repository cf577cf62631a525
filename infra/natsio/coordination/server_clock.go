package coordination

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// serverClock knows how far the clock of the server is ahead of this engine's. The server
// fires timers by its own clock, the engine decides by its own what is due.
type serverClock struct {
	now func() time.Time // nil = time.Now

	mu    sync.Mutex
	ahead time.Duration // of the server; 0 = about the same
	last  reading
}

const (
	// clockTolerance is the difference that counts as none: clocks that are kept by NTP.
	clockTolerance = 250 * time.Millisecond
	// clockSet is the change from which on a clock was set.
	clockSet = 2 * time.Second
)

func (c *serverClock) time() time.Time {
	if c.now != nil {
		return c.now()
	}
	return time.Now()
}

// schedule is the server's time for a timer that is due at a time, a second from now at
// the earliest: a timer that fires early is set again, and must not keep the engine busy.
func (c *serverClock) schedule(at time.Time) time.Time {
	if soon := c.time().Add(time.Second); at.Before(soon) {
		at = soon
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return at.Add(c.ahead)
}

// differs reports whether the clocks differ.
func (c *serverClock) differs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead != 0
}

// fired takes the server's time at which a timer has fired: its clock is at least so far
// ahead.
func (c *serverClock) fired(server time.Time) {
	least := server.Sub(c.time().Round(0))
	c.mu.Lock()
	defer c.mu.Unlock()
	if least > clockTolerance {
		c.ahead = max(c.ahead, least)
	}
}

// reading is the server's time as it was asked.
type reading struct {
	server time.Time
	took   time.Duration // the question
	engine time.Time     // this engine's time of the answer
	passed time.Duration // that no change of the time moves
}

// clockChange is which clocks were set since the last reading.
type clockChange int

const (
	noClock    clockChange = iota
	oneClock               // of the engine or of the server
	bothClocks             // by as much: they are of one machine
)

func (c *serverClock) take(r reading) clockChange {
	c.mu.Lock()
	defer c.mu.Unlock()
	differs := r.server.Sub(r.engine) + r.took/2
	jump := r.engine.Sub(c.last.engine) - (r.passed - c.last.passed)
	change, limit := noClock, clockSet+r.took
	switch {
	case c.last.engine.IsZero():
	case (differs - c.ahead).Abs() > limit:
		change = oneClock
	case jump.Abs() > limit:
		change = bothClocks
	}
	c.last = r
	if c.ahead = differs + r.took/2; differs.Abs() <= clockTolerance+r.took/2 {
		c.ahead = 0
	}
	return change
}

// started is when this process began to count what passes.
var started = time.Now()

// readClock compares the clock of the stream's leader with this engine's.
func (t *Timers) readClock(ctx context.Context) (clockChange, error) {
	asked := time.Now()
	s, err := t.js.Stream(ctx, TimerStream)
	if err != nil {
		return noClock, fmt.Errorf("read the time of the server: %w", err)
	}
	server := s.CachedInfo().TimeStamp
	if server.IsZero() {
		return noClock, nil
	}
	return t.server.take(reading{server, time.Since(asked), t.server.time().Round(0), time.Since(started)}), nil
}
