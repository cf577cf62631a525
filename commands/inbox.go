package commands

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/inbox"
	"github.com/tidemark-engine/tidemark/events"
)

// markAhead is how far marks may be ahead: they are of the clock of PostgreSQL, which may be
// ahead of the engine's. What is further is no mark, or in another unit.
const markAhead = 24 * time.Hour

// readMessageRead reads the verb that marks messages as read; the id is the reader's.
func readMessageRead(id string, body []byte, now time.Time, b Bounds) (Command, error) {
	var in struct {
		UpTo  *int64   `json:"up_to"`
		Marks *[]int64 `json:"marks"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := domain.CheckAgentID(id); err != nil {
		return Command{}, err
	}
	if in.UpTo == nil && in.Marks == nil {
		return Command{}, domain.MissingField("up_to or marks")
	}
	r := inbox.Read{Agent: id}
	last := now.Add(markAhead).UnixMicro()
	if in.UpTo != nil {
		if r.UpTo = *in.UpTo; r.UpTo < 1 || r.UpTo > last {
			return Command{}, badMark("up_to", r.UpTo)
		}
	}
	if in.Marks != nil {
		r.Marks = *in.Marks
		if len(r.Marks) < 1 || len(r.Marks) > inbox.MaxMarks {
			return Command{}, domain.Errorf(domain.Invalid, "marks.invalid", "marks must be 1 to %d marks of messages, these are %d", inbox.MaxMarks, len(r.Marks))
		}
		slices.Sort(r.Marks)
		r.Marks = slices.Compact(r.Marks)
		for _, mark := range r.Marks {
			if mark < 1 || mark > last {
				return Command{}, badMark("marks", mark)
			}
		}
	}
	r.Request = fingerprint("read", fmt.Sprint(r.UpTo), fmt.Sprint(r.Marks))
	return bind("message", id, "", events.Inbox(id), request{print: r.Request}, inboxFold, r, inbox.Decide), nil
}

func badMark(name string, mark int64) error {
	return domain.Errorf(domain.Invalid, name+".invalid", "%d is not the mark of a message: take it from the inbox", mark)
}
