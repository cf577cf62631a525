package natsio

import (
	"sync"
	"time"
)

// Floods finds the connections that go on sending while their requests are refused.
type Floods struct {
	mu   sync.Mutex
	of   map[uint64]excess    // by connection
	last map[string]time.Time // the last flood, by origin
}

// excess is what was refused of a connection in a floodTime.
type excess struct {
	since    time.Time
	requests int
	bytes    int
	ended    bool // the connection; what it had sent before is still refused
}

const (
	floodTime = 5 * time.Second
	// A connection floods the engine when more than floodRequests, with more than floodBytes,
	// were refused of it in that time: far more than of a client that waits as long as the
	// refusal says, and more than a burst of a few large requests. A request counts
	// requestBytes besides its body.
	floodRequests = 200
	floodBytes    = 32 << 20
	requestBytes  = 1 << 10
	// Who was disconnected connects again and goes on, with what its library has kept
	// meanwhile. For floodMemory after a flood an eighth is a flood of its origin.
	floodMemory = time.Minute
	floodAgain  = 8
	// maxFloods bounds the connections, and the origins, that are remembered.
	maxFloods = 8192
)

// Refused counts a refused request of size bytes, and reports whether its connection floods
// the engine, once in a floodTime. The origin is who may be behind several connections.
func (f *Floods) Refused(connection uint64, origin string, size int, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, known := f.of[connection]
	if !known || now.Sub(e.since) > floodTime {
		e = excess{since: now}
	}
	e.requests++
	e.bytes += size + requestBytes
	share := 1
	if at, flooded := f.last[origin]; flooded && now.Sub(at) < floodMemory {
		share = floodAgain
	}
	floods := !e.ended && e.bytes > floodBytes/share && e.requests > floodRequests/share
	if floods {
		e.ended = true
		f.last = note(f.last, origin, now)
	}
	f.of = note(f.of, connection, e)
	return floods
}

// note sets one of at most maxFloods values. A map that is full starts empty.
func note[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	if _, known := m[k]; m == nil || len(m) >= maxFloods && !known {
		m = map[K]V{}
	}
	m[k] = v
	return m
}
