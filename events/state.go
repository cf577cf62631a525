package events

import "github.com/go-json-experiment/json/jsontext"

// Types of the events of a state entry. The two kinds of losing writes are stored
// under EntryConflicts and change nothing.
const (
	StateSet        = "agent.state_set"
	StateDeleted    = "agent.state_deleted"
	StateSuperseded = "agent.state_superseded"
	StateRejected   = "agent.state_rejected"
)

// StateWrite is the data of StateSet and StateDeleted. A deletion has no value.
type StateWrite struct {
	Value    jsontext.Value // as sent, byte for byte, or as computed
	Strategy string         // the conflict strategy in force
	Request  string         // fingerprint of the command's verb and body
	Origin   jsontext.Value // an Origin, if a fork copied the entry
	Erased   bool           // of a deletion: the erasure of the agent deleted the entry
}

// StateLoss is the data of StateSuperseded and StateRejected: the write that
// lost, and what it lost against.
type StateLoss struct {
	Verb            string         // "set", "merge", "add", "append" or "delete"
	Value           jsontext.Value // the losing value, or what it would be computed with; empty for a delete
	Strategy        string
	Request         string
	Reason          string // error code of a rejection
	Message         string // error message of a rejection
	CurrentVersion  uint64 // of the entry when the write lost; 0 = it did not exist
	CurrentRevision uint64
}
