package service

import (
	"sync"
	"time"
)

// floods finds the connections that go on sending while their requests are refused.
type floods struct {
	mu sync.Mutex
	of map[uint64]excess // by connection
}

// excess is what was refused of a connection in a floodTime.
type excess struct {
	since    time.Time
	requests int
	bytes    int
}

const (
	floodTime = 2 * time.Second
	// A connection floods the engine when more than floodRequests, with more than floodBytes,
	// were refused of it in that time: far more than of a client that waits as long as the
	// refusal says, and more than a burst of a few large requests. A request counts
	// requestBytes besides its body.
	floodRequests = 200
	floodBytes    = 32 << 20
	requestBytes  = 1 << 10
	// maxFloods bounds the connections that are remembered.
	maxFloods = 8192
)

// refused counts a refused request of size bytes, and reports whether its connection floods
// the engine.
func (f *floods) refused(connection uint64, size int, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, known := f.of[connection]
	if !known || now.Sub(e.since) > floodTime {
		e = excess{since: now}
	}
	e.requests++
	if e.bytes += size + requestBytes; e.bytes > floodBytes && e.requests > floodRequests {
		delete(f.of, connection)
		return true
	}
	if f.of == nil || len(f.of) >= maxFloods && !known {
		f.of = map[uint64]excess{}
	}
	f.of[connection] = e
	return false
}
