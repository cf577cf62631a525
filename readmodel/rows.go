// Package readmodel defines the rows of the views and the pure fold of one event into a row.
// Package tiers reads the rows, package query answers queries with them.
package readmodel

import (
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Entry is one state entry as every tier stores it.
type Entry struct {
	Agent     string
	Key       string
	Value     []byte // JSON, byte for byte as the client sent it
	Timestamp time.Time
	Writer    string
	Version   uint64 // of the entry, from 1
	Revision  uint64 // of its last event in the partition
	UpdatedAt time.Time
	Digest    string // of its last event
}

// EncodeKV encodes the entry for the hot bucket: the contract's StateEntry with revision and
// digest.
func (e *Entry) EncodeKV() []byte {
	b := append(make([]byte, 0, 224+len(e.Value)), `{"value":`...)
	b = append(b, e.Value...)
	b = append(b, ',')
	b = events.AppendTime(b, "timestamp", e.Timestamp)
	b = append(b, ',')
	b = events.AppendString(b, "agent_id", e.Agent)
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, e.Version, 10)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, e.Revision, 10)
	b = append(b, ',')
	b = events.AppendString(b, "digest", e.Digest)
	return append(b, '}')
}

// Loss is one losing write.
type Loss struct {
	Agent, Key      string
	Version         uint64 // number among the entry's losing writes, from 1
	Revision        uint64
	Kind            string // "superseded" or "rejected"
	Verb            string // "set" or "delete"
	Strategy        string
	Reason          string // error code of a rejection
	Value           []byte // nil for a delete
	Timestamp       time.Time
	RecordedAt      time.Time
	Writer          string
	CommandID       string
	CurrentVersion  uint64 // of the entry when the write lost
	CurrentRevision uint64
	Digest          string
}

// Agent is one row of the list of agents: those with entries, a recorded lifecycle, or both.
type Agent struct {
	ID        string
	Phase     string
	Since     time.Time // of the phase; zero = no lifecycle is recorded
	Entries   int
	Revision  uint64 // the greatest among its entries and its lifecycle
	UpdatedAt time.Time
}
