package declared

import (
	"strconv"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Messages reports whether the rows are messages between agents. Each is an event of its
// sender: one aggregate has many rows, and an erasure of the sender ends them all.
func (f *Fold) Messages() bool { return f.From == view.FromMessage }

// Message folds an event of a sender; ok is false if it adds no row.
func (f *Fold) Message(rec *events.Record) (c Change, ok bool, err error) {
	m, ok, err := readmodel.MessageOf(rec)
	if err != nil || !ok || !f.Matches(m.From, m.ID) {
		return c, false, err
	}
	row := m.Encode()
	row = append(row[:len(row)-1], `,"sequence":`...)
	row = append(strconv.AppendUint(row, m.Sequence, 10), '}')
	return Change{Key: m.From + "." + m.ID, Values: f.values(row, 0)}, true, nil
}

// SentBy are the bounds, both excluded, of the keys of an agent's messages.
func SentBy(agent string) (after, before string) { return agent + ".", agent + "/" }
