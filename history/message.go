package history

import "github.com/tidemark-engine/tidemark/events"

// Message is one entry of the journal.
//
// Bad is set when the entry cannot be read as an event; Stream, Partition and
// Revision are right even then, and RecordedAt is when the journal stored it.
// Body holds the stored bytes and must not be changed: exports and comparisons
// with the archive compare it. Prior is the revision of the aggregate's event
// before this one; 0 = not known, or none.
type Message struct {
	events.Record
	Bad  error
	Body []byte

	Prior uint64
}

// Exists reports whether m is an entry at all: answers about several aggregates
// hold an empty Message for each that has none.
func (m *Message) Exists() bool { return m.Type != "" || m.Bad != nil }

// event returns the record of m, or why it is none.
func (m *Message) event() (events.Record, bool, error) {
	if !m.Exists() {
		return events.Record{}, false, nil
	}
	return m.Record, m.Bad == nil, m.Bad
}

// MessageRoom is what a message may hold besides an event, in bytes: headers in the
// journal, the other members of an answer. An event that leaves less of the largest
// message is not appended.
const MessageRoom = 1 << 10

// Published is the event as readers see it: of a sealed event with its content, or
// erased; of any other event the stored bytes.
func (m *Message) Published() (event []byte, sealed bool) {
	if _, _, sealed := m.Sealed(); sealed {
		return m.Event.Published(), true
	}
	return m.Body, false
}
