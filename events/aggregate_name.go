package events

import (
	"hash/fnv"
	"strings"
)

// AggregateName is the name of an aggregate: the subject of its events below "events.".
// Each kind is built by one function and nowhere else, because compare-and-set
// holds only if all writers check exactly the same subject.
type AggregateName string

// StateEntry is the name of one state entry; every key of an agent is an
// aggregate of its own, so keys never contend.
func StateEntry(agent, key string) AggregateName {
	return AggregateName("agent." + agent + ".state." + key)
}

// EntryConflicts is the name under which the losing writes of one state entry are
// stored.
func EntryConflicts(agent, key string) AggregateName {
	return AggregateName("agent." + agent + ".conflict." + key)
}

// AgentStates is the pattern of all state entries of an agent, for listing only:
// no decision uses a wildcard.
func AgentStates(agent string) AggregateName { return AggregateName("agent." + agent + ".state.>") }

// Home is the name under which an event must be stored, by its type and ids; empty
// for a type that this build does not know.
func (e *Event) Home() AggregateName {
	switch e.Type {
	case StateSet, StateDeleted:
		return StateEntry(e.ID, e.Key)
	case MessageSent:
		return Sent(e.ID)
	case StateSuperseded, StateRejected:
		return EntryConflicts(e.ID, e.Key)
	case ConfigSet, ConfigUnset:
		return Config(e.ID, e.Key)
	case HydrationStarted, Hydrated, HydrationFailed, FlushStarted, Flushed, FlushFailed, Expired, Retired, Forked, Erased, RevertStarted, Reverted:
		return Lifecycle(e.ID)
	}
	switch e.Aggregate {
	case "task":
		return Task(e.ID)
	case "session":
		return Session(e.ID)
	case "claim":
		return Claim(e.ID)
	case "message":
		return Inbox(e.ID)
	case "require":
		return Require(e.ID)
	case "reminder":
		return Reminder(e.ID)
	case "view":
		return View(e.ID)
	}
	return ""
}

// ID is the aggregate id inside the name: the second token.
func (s AggregateName) ID() string {
	_, rest, _ := strings.Cut(string(s), ".")
	id, _, _ := strings.Cut(rest, ".")
	return id
}

// Key is the key of a state or configuration entry inside the name, also of losing writes;
// empty for other names.
func (s AggregateName) Key() string {
	aggregate, rest, _ := strings.Cut(string(s), ".")
	_, key, _ := strings.Cut(rest, ".")
	if aggregate == "config" {
		return key
	}
	of, key, _ := strings.Cut(key, ".")
	if aggregate == "agent" && (of == "state" || of == "conflict") {
		return key
	}
	return ""
}

// Partition is the journal partition of an aggregate id among n: FNV-1a, so
// that all aggregates of one agent share a partition.
func Partition(id string, n int) int {
	if n <= 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return int(h.Sum32() % uint32(n))
}

// Valid reports whether s can be the name of an aggregate: tokens without
// wildcards and white space, joined by single dots. A bucket may hold keys that
// another client wrote and that are not valid; they must not be used as a pattern.
func (s AggregateName) Valid() bool {
	for token := range strings.SplitSeq(string(s), ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n") {
			return false
		}
	}
	return true
}
