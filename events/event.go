// Package events has the published facts: the envelope of all events, the data of
// each event type, the names of aggregates, the codec and the digest chain. It is
// pure and imports no other package of the module.
package events

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Schema is the version of the event format that this build writes.
const Schema = 1

// Event is one fact in the journal (wire contract, section 3). Its sequence in the
// journal, the revision, is known only after the append and is therefore in
// Record.
type Event struct {
	Type        string         // "agent.state_set"; past tense
	Aggregate   string         // "agent", "task", …
	ID          string         // the aggregate's id
	Key         string         // state or config key; empty where there is none
	Version     uint64         // position in the aggregate, from 1, without gaps
	Timestamp   time.Time      // the writer's logical time, UTC
	RecordedAt  time.Time      // the engine's clock at the decision, UTC
	Writer      string         // as the command named it; may be empty
	Actor       string         // the authenticated sender of the command; empty = there is no identity
	CommandID   string         // the command that caused it
	TraceParent string         // W3C trace context of the command; empty = there was none
	TraceState  string         // only with TraceParent
	Data        jsontext.Value // by type; byte for byte as encoded
	State       jsontext.Value // the state after the event, if Data alone does not determine it
	Digest      string         // lower-case hex SHA-256, see Chain
	Schema      int            // version of the format; see Schema

	// Erased: the stored Data is encrypted with a key that was destroyed; see Erase.
	Erased bool

	// Owner is the agent whose key encrypts the content of a task, a session, a reminder or a claim;
	// empty = it belongs to none and is not encrypted. Outline is State without content, which
	// stays readable. Both are set to encrypt an event, and are not stored as they are.
	Owner   string
	Outline jsontext.Value

	stored *Event // the stored event, if it is of an older schema or sealed
}

// Record is an event with its position in the journal.
type Record struct {
	Event
	Name      AggregateName
	Partition int
	Revision  uint64 // sequence in the partition's journal, from 1
}
