package events

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

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
	Reverted jsontext.Value // a Reversion, if a revert wrote the entry
}

// Reversion is the state that a revert brought an entry back to, and what asked for it.
type Reversion struct {
	Version  uint64 `json:"version"`  // of the entry then; 0 = it did not exist yet
	Revision uint64 `json:"revision"` // of the event of that version; 0 = there is none
	RevertPoint
	Reason string `json:"reason,omitzero"`
}

// RevertPoint is the point that a revert asks for; one member is set.
type RevertPoint struct {
	ToVersion  *uint64   `json:"to_version,omitzero"`
	ToRevision *uint64   `json:"to_revision,omitzero"`
	ToTime     time.Time `json:"to_time,omitzero"`
}

// Encode is the origin of a revert as a member of an entry's data.
func (r *Reversion) Encode() (jsontext.Value, error) {
	return json.Marshal(r, json.Deterministic(true))
}

// StateLoss is the data of StateSuperseded and StateRejected: the write that
// lost, and what it lost against.
type StateLoss struct {
	Verb            string         // "set", "merge", "add", "append", "revert" or "delete"
	Value           jsontext.Value // the losing value, or what it would be computed with; empty for a delete
	Strategy        string
	Request         string
	Reason          string // error code of a rejection
	Message         string // error message of a rejection
	CurrentVersion  uint64 // of the entry when the write lost; 0 = it did not exist
	CurrentRevision uint64 // 0 where CurrentBefore says it
	CurrentBefore   uint64 // of a loss against a write of the same batch: how many revisions before this event that is
}

// Against is the revision of the entry that the write lost against, by the write's own.
func (d *StateLoss) Against(own uint64) uint64 {
	if d.CurrentBefore > 0 {
		return own - d.CurrentBefore
	}
	return d.CurrentRevision
}
