package events

import "github.com/go-json-experiment/json/jsontext"

// Types of the events of a state entry. The two losers live on the entry's
// conflict stream and change nothing.
const (
	StateSet        = "agent.state_set"
	StateDeleted    = "agent.state_deleted"
	StateSuperseded = "agent.state_superseded"
	StateRejected   = "agent.state_rejected"
)

// StateWrite is the data of StateSet and StateDeleted. A deletion has no value.
type StateWrite struct {
	Value    jsontext.Value // as it was sent, byte for byte
	Strategy string         // the conflict strategy in force
	Request  string         // fingerprint of the command's verb and body
	Origin   jsontext.Value // of an entry that a fork copied: an Origin
}

// StateLoss is the data of StateSuperseded and StateRejected: the write that
// lost, and what it lost against.
type StateLoss struct {
	Verb            string         // "set" or "delete"
	Value           jsontext.Value // the losing value; empty for a delete
	Strategy        string
	Request         string
	Reason          string // error code of a rejection
	Message         string // error message of a rejection
	CurrentVersion  uint64 // of the entry when the write lost; 0 = there was none
	CurrentRevision uint64
}
