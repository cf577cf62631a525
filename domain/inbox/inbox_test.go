package inbox_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/domain/inbox"
	"github.com/tidemark-engine/tidemark/events"
)

func TestLaws(t *testing.T) {
	domaintest.Aggregate[inbox.Inbox, inbox.Read]{
		Evolve: inbox.Evolve, Decide: inbox.Decide, Command: draw, Load: domain.CarriedState[inbox.Inbox],
		Types: []string{events.MessageRead},
	}.Laws(t)
}

// TestWhatIsRead: exactly the messages that a command has named are read, for ever, and
// the state is the shortest that says so.
func TestWhatIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b inbox.Inbox
		read := map[int64]bool{}
		for range rapid.IntRange(1, 20).Draw(t, "commands") {
			r := draw(t)
			d := inbox.Decide(b, r, domain.Metadata{Now: time.Unix(1, 0)})
			if d.Refusal != nil {
				t.Fatal(d.Refusal)
			}
			news := false
			for m := int64(1); m < 30; m++ {
				if (m <= r.UpTo || slices.Contains(r.Marks, m)) && !read[m] {
					read[m], news = true, true
				}
			}
			if !news && r.UpTo <= b.ReadUpTo && d.Outcome != domain.Unchanged {
				t.Fatalf("%+v after %+v is %s", r, b, d.Outcome)
			}
			for i := range d.Events {
				var err error
				if b, err = inbox.Evolve(b, &d.Events[i]); err != nil {
					t.Fatal(err)
				}
			}
			for m := int64(1); m < 30; m++ {
				if got := m <= b.ReadUpTo || slices.Contains(b.Marks, m); got != read[m] {
					t.Fatalf("message %d: read is %t in %+v", m, got, b)
				}
			}
			if !slices.IsSorted(b.Marks) || len(slices.Compact(slices.Clone(b.Marks))) != len(b.Marks) || len(b.Marks) > 0 && b.Marks[0] <= b.ReadUpTo {
				t.Fatalf("%+v", b)
			}
		}
	})
}

// TestTooManyMarks: the state stays small, and up_to makes room.
func TestTooManyMarks(t *testing.T) {
	full := inbox.Inbox{ReadUpTo: 1}
	for i := range int64(inbox.MaxMarks) {
		full.Marks = append(full.Marks, 3+2*i)
	}
	now := domain.Metadata{Now: time.Unix(1, 0)}
	if d := inbox.Decide(full, inbox.Read{Agent: "a", Marks: []int64{4}}, now); d.Refusal == nil || d.Refusal.Code != "message.too_many_marks" || d.Refusal.Kind != domain.Rejected {
		t.Errorf("%+v", d)
	}
	if d := inbox.Decide(full, inbox.Read{Agent: "a", Marks: []int64{3, 1, 5}}, now); d.Outcome != domain.Unchanged {
		t.Errorf("%+v", d)
	}
	d := inbox.Decide(full, inbox.Read{Agent: "a", UpTo: 3, Marks: []int64{4}}, now)
	if d.Outcome != domain.Accepted {
		t.Fatalf("%+v", d)
	}
	after, err := domain.CarriedState[inbox.Inbox](&d.Events[0])
	if err != nil || after.ReadUpTo != 3 || len(after.Marks) != inbox.MaxMarks || after.Marks[0] != 4 {
		t.Errorf("%+v, %v", after, err)
	}
}

func draw(t *rapid.T) inbox.Read {
	r := inbox.Read{Agent: "a", Request: "r", UpTo: rapid.Int64Range(0, 29).Draw(t, "up to")}
	if rapid.Bool().Draw(t, "single") {
		r.UpTo /= 3
		r.Marks = rapid.SliceOfN(rapid.Int64Range(1, 29), 1, 5).Draw(t, "marks")
	}
	return r
}
