// Package events holds the published facts: the envelope every event travels
// in, the data of each event type, the names of streams and subjects, the
// codec and the digest chain. It is pure and imports nothing of ours.
package events

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Schema is the version of the event form that this build writes.
const Schema = 1

// Event is one fact in the journal (wire contract, section 3). Its sequence in
// the journal, the revision, is known only once it is appended and therefore
// lives beside it, in Record.
type Event struct {
	Type       string         // "agent.state_set"; past tense
	Aggregate  string         // "agent", "task", …
	ID         string         // the aggregate's id
	Key        string         // state or config key; empty where there is none
	Version    uint64         // place in the aggregate, from 1, dense
	Timestamp  time.Time      // the writer's logical time, UTC
	RecordedAt time.Time      // the engine's clock when it decided, UTC
	Writer     string         // who wrote, as the command said; may be empty
	CommandID  string         // the command that caused it
	Data       jsontext.Value // what the type says; byte for byte as encoded
	State      jsontext.Value // the state it results in, where Data alone does not say it
	Digest     string         // lower-case hex SHA-256, see Chain
	Schema     int            // version of the form; see Schema

	stored *Event // as the journal has it, where that is of an older schema
}

// Record is an event with its place.
type Record struct {
	Event
	Stream    Stream
	Partition int
	Revision  uint64 // sequence in the partition's journal, from 1
}
