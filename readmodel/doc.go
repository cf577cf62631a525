package readmodel

import (
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Kinds of documents: aggregates whose whole state is one JSON object, or one value for
// configuration.
const (
	KindTask      = "task"
	KindSession   = "session"
	KindReminder  = "reminder"
	KindConfig    = "config"
	KindClaim     = "claim"
	KindInbox     = "inbox"
	KindView      = "view" // a declared view: its definition, not its rows
	KindLifecycle = "lifecycle"
)

// Doc is a document as every tier stores it.
type Doc struct {
	Kind      string
	ID        string // task, session, reminder, claim or agent
	Key       string // of a configuration entry
	State     []byte // JSON
	Timestamp time.Time
	Version   uint64
	Revision  uint64
	UpdatedAt time.Time
	Digest    string
}

// IDName returns the JSON member name of the id.
func (d *Doc) IDName() string {
	switch d.Kind {
	case KindTask:
		return "task_id"
	case KindSession:
		return "session_id"
	case KindClaim:
		return "claim_id"
	case KindReminder:
		return "reminder_id"
	case KindView:
		return "name"
	}
	return "agent_id"
}

// EncodeKV encodes the document for its bucket: the members of the state with id, version,
// revision and digest; a configuration entry has the form of a state entry.
func (d *Doc) EncodeKV() []byte {
	if d.Kind == KindConfig {
		e := Entry{Agent: d.ID, Value: d.State, Timestamp: d.Timestamp, Version: d.Version, Revision: d.Revision, Digest: d.Digest}
		return e.EncodeKV()
	}
	b := append(make([]byte, 0, 192+len(d.State)), '{')
	b = d.Append(b)
	return append(b, '}')
}

// Append appends the members of the document, without braces.
func (d *Doc) Append(b []byte) []byte {
	b = events.AppendString(b, d.IDName(), d.ID)
	if d.Key != "" {
		b = append(b, ',')
		b = events.AppendString(b, "key", d.Key)
	}
	switch {
	case d.Kind == KindConfig && len(d.State) > 0:
		b = append(b, `,"value":`...)
		b = append(b, d.State...)
	case len(d.State) > 2: // an object that is not empty
		b = append(b, ',')
		b = append(b, d.State[1:len(d.State)-1]...)
	}
	b = append(b, ',')
	b = events.AppendTime(b, "updated_at", d.UpdatedAt)
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, d.Version, 10)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, d.Revision, 10)
	b = append(b, ',')
	return events.AppendString(b, "digest", d.Digest)
}
