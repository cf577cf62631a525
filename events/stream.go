package events

import (
	"hash/fnv"
	"strings"
)

// Stream names one aggregate's stream of events: its subject without the root
// "events.". One function below builds each kind, and nothing else does:
// compare-and-set holds only while all writers check exactly the same subject.
type Stream string

// StateEntry is the stream of one state entry; every key of an agent is an
// aggregate of its own, so keys never contend.
func StateEntry(agent, key string) Stream {
	return Stream("agent." + agent + ".state." + key)
}

// EntryConflicts is the stream of the losing writes of one state entry.
func EntryConflicts(agent, key string) Stream {
	return Stream("agent." + agent + ".conflict." + key)
}

// AgentStates is the pattern of all state entries of an agent. For listing
// only: nothing is ever decided from a wildcard.
func AgentStates(agent string) Stream { return Stream("agent." + agent + ".state.>") }

// Home is the stream that an event belongs on, by what it says of itself; empty
// for a type this build does not know.
func (e *Event) Home() Stream {
	switch e.Type {
	case StateSet, StateDeleted:
		return StateEntry(e.ID, e.Key)
	case StateSuperseded, StateRejected:
		return EntryConflicts(e.ID, e.Key)
	case ConfigSet, ConfigUnset:
		return Config(e.ID, e.Key)
	case HydrationStarted, Hydrated, HydrationFailed, FlushStarted, Flushed, FlushFailed, Expired, Retired, Forked:
		return Lifecycle(e.ID)
	}
	switch e.Aggregate {
	case "task":
		return Task(e.ID)
	case "session":
		return Session(e.ID)
	}
	return ""
}

// ID is the aggregate id inside the name: the second token.
func (s Stream) ID() string {
	_, rest, _ := strings.Cut(string(s), ".")
	id, _, _ := strings.Cut(rest, ".")
	return id
}

// Partition is the journal partition of an aggregate id among n: FNV-1a, so
// that all streams of one agent share a partition.
func Partition(id string, n int) int {
	if n <= 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return int(h.Sum32() % uint32(n))
}

// Valid reports whether s can be the name of an aggregate: tokens without
// wildcards and white space, joined by single dots. A key that a stranger has
// written into a bucket may be named otherwise and must not become a pattern.
func (s Stream) Valid() bool {
	for token := range strings.SplitSeq(string(s), ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n") {
			return false
		}
	}
	return true
}
