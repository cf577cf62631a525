package commands

import "sync/atomic"

// Stats counts what the handler does, from its start.
type Stats struct {
	Appends   atomic.Int64 // events stored
	Conflicts atomic.Int64 // appends that another writer beat
	Replays   atomic.Int64 // commands answered from their first time
	Unasked   atomic.Int64 // commands with an id of no time, decided while the archive did not answer
}

// Stats are the handler's counters, live.
func (h *Handler) Stats() *Stats { return &h.stats }
