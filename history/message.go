package history

import "github.com/tidemark-engine/tidemark/events"

// Message is one journal entry. Bad is set when it cannot be read as an event
// of ours; Revision and Stream are right even then, and RecordedAt is when the
// journal took it. Body is what is stored, byte for byte, and not to be
// changed: an export and a comparison with the archive rest on it.
type Message struct {
	events.Record
	Bad  error
	Body []byte
}
