package intake

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// journalEvent is an event to decode. Watermill sets typ first.
type journalEvent struct {
	typ string
	rec events.Record
}

// eventMarshaler decodes the journal's events for Watermill.
type eventMarshaler struct {
	root       string
	partitions map[string]int // by stream
}

func (in *Intake) eventMarshaler() eventMarshaler {
	m := eventMarshaler{in.cfg.Subjects.Root("events."), map[string]int{}}
	n := in.cfg.Journal.Partitions()
	for p := range n {
		m.partitions[natsio.StreamName(p, n)] = p
	}
	return m
}

// Name implements Watermill's interface.
func (eventMarshaler) Name(v any) string { return v.(*journalEvent).typ }

// NameFromMessage implements Watermill's interface. A message that is no event
// has no type, and no reactor handles it.
func (eventMarshaler) NameFromMessage(m *message.Message) string {
	var head struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(m.Payload, &head)
	return head.Type
}

// Marshal implements Watermill's interface. Only the journal stores events.
func (eventMarshaler) Marshal(any) (*message.Message, error) {
	return nil, errors.New("the intake publishes no events")
}

// Unmarshal returns a poison error for an event with a newer schema.
func (e eventMarshaler) Unmarshal(m *message.Message, v any) error {
	ev, err := events.Decode(m.Payload)
	if err != nil {
		return &poisonError{err.Error()}
	}
	v.(*journalEvent).rec = events.Record{
		Event: ev, Name: events.AggregateName(strings.TrimPrefix(m.Metadata.Get(metaSubject), e.root)),
		Partition: e.partitions[m.Metadata.Get(metaStream)], Revision: metaNumber(m.Metadata, metaSequence),
	}
	return nil
}
