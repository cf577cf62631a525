// Package inbox decides which messages of its inbox an agent has read. What was sent is in
// the events of the senders (package message).
package inbox

import (
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// MaxMarks is how many messages after the last of an unbroken sequence can be read.
const MaxMarks = 1000

// Inbox is what an agent has read. A message has a mark, which is greater than those of
// all messages that could be read before it.
type Inbox struct {
	ReadUpTo int64   `json:"read_up_to"`
	Marks    []int64 `json:"marks,omitzero"` // read beyond ReadUpTo, in order, none twice
}

// Evolve is the inbox after one more event. Unknown types change nothing.
func Evolve(b Inbox, ev *events.Event) (Inbox, error) {
	if ev.Type != events.MessageRead {
		return b, nil
	}
	var d events.InboxRead
	err := json.Unmarshal(ev.Data, &d)
	return b.read(d.UpTo, d.Marks), err
}

func (b Inbox) read(upTo int64, marks []int64) Inbox {
	all := slices.Concat(b.Marks, marks)
	slices.Sort(all)
	all = slices.Compact(all)
	b.ReadUpTo = max(b.ReadUpTo, upTo)
	n, _ := slices.BinarySearch(all, b.ReadUpTo+1)
	if b.Marks = nil; n < len(all) {
		b.Marks = all[n:]
	}
	return b
}

// Read is the command to mark messages as read: all up to a mark, single ones, or both.
type Read struct {
	Agent   string
	UpTo    int64
	Marks   []int64
	Request string
}

// Decide decides the command. What was read stays read: marks that are known change
// nothing. More than MaxMarks beyond the unbroken sequence are 422 message.too_many_marks.
func Decide(b Inbox, r Read, meta domain.Metadata) domain.Decision {
	after := b.read(r.UpTo, r.Marks)
	switch {
	case after.ReadUpTo == b.ReadUpTo && slices.Equal(after.Marks, b.Marks):
		return domain.Decision{Outcome: domain.Unchanged}
	case len(after.Marks) > MaxMarks:
		return domain.Refuse(domain.Errorf(domain.Rejected, "message.too_many_marks",
			"agent %s has read %d messages beyond %d, at most %d can be marked one by one: read the older ones with up_to",
			r.Agent, len(after.Marks), after.ReadUpTo, MaxMarks).With("read_up_to", after.ReadUpTo))
	}
	data, err := domain.Encode(events.InboxRead{UpTo: r.UpTo, Marks: r.Marks, Request: r.Request})
	if err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
	}
	evs := []events.Event{{Type: events.MessageRead, Aggregate: "message", ID: r.Agent, Timestamp: meta.Now, Data: data}}
	if err := domain.CarryState(b, evs, Evolve); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}
