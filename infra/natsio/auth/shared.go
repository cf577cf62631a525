package auth

import "slices"

// shared are consumers that the topology makes for workers in development mode. The imports
// of a principal name no consumer but by their stream, so that without a mapping who may
// only read would pull what a worker waits for.
var shared = []string{"AGENT_MESSAGES.message-batch-processor"}

// Share keeps principals from pulling from consumers that an operator has made, named
// STREAM.NAME, in place of those of the last call.
func (a *Authority) Share(consumers []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := slices.Compact(slices.Sorted(slices.Values(consumers)))
	if !slices.Equal(now, a.shared) {
		a.shared, a.seen = now, map[string]fileState{} // the server gets all accounts again that this changes
	}
}
