package commands_test

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// lateJournal takes its time for each append.
type lateJournal struct {
	history.Journal
	pause   time.Duration
	appends atomic.Int32
}

func (j *lateJournal) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	j.appends.Add(1)
	select {
	case <-time.After(j.pause):
	case <-ctx.Done():
		return history.Appended{}, ctx.Err()
	}
	return j.Journal.Append(ctx, writes)
}

// A command over all entries of an agent that takes longer than its caller waits goes on: it
// takes effect once, and begins once, however often it is sent meanwhile.
func TestALongCommandGoesOn(t *testing.T) {
	const keys, batches = 2000, 3
	past := journaltest.History(t, 1)
	appendEntries(t, past, keys, 1, 0)
	head, err := past.Head(t.Context(), 0)
	harness.Must(t, err)
	want := values(t, past, "origin", history.Moment{Revision: head})
	appendEntries(t, past, keys, 2, head-keys)
	for _, c := range []struct{ agent, verb, body string }{
		{"copy", "fork", fmt.Sprintf(`{"from":"origin","at_revision":%d}`, head)},
		{"origin", "revert", fmt.Sprintf(`{"to_revision":%d}`, head)},
	} {
		t.Run(c.verb, func(t *testing.T) {
			journal := &lateJournal{Journal: past, pause: time.Second}
			e := newEngine(t, journal, commands.Config{Past: past, Timeout: 300 * time.Millisecond})
			id, late := ulid.Make().String(), 0
			harness.Eventually(t, "the command ends", func() error {
				_, err := e.to(c.agent, id, c.verb, c.body)
				if hasCode(err, "outcome.unknown") {
					late++
				}
				return err
			})
			if n := journal.appends.Load(); late < batches || n != batches {
				t.Errorf("%d callers waited no longer, %d appends, want %d", late, n, batches)
			}
			if got := values(t, past, c.agent, now()); !maps.Equal(got, want) {
				t.Errorf("%d entries, want %d, or other values", len(got), len(want))
			}
			if r, err := e.to(c.agent, id, c.verb, c.body); err != nil || !r.Replayed {
				t.Errorf("again: %s, %v", r.Encode(), err)
			}
		})
	}
}

// What goes on without a caller ends with the engine, and where many go on already. The
// timeout is long enough that every command reaches its append on a busy machine.
func TestALongCommandWithoutACaller(t *testing.T) {
	past := journaltest.History(t, 1)
	appendEntries(t, past, 1, 1, 0)
	journal := &lateJournal{Journal: past, pause: time.Hour}
	e := newEngine(t, journal, commands.Config{Past: past, Timeout: 3 * time.Second})
	var answers []<-chan answer
	for i := range 20 {
		answers = append(answers, e.send(ulid.Make().String(), fmt.Sprint("copy", i), "fork", `{"from":"origin"}`))
	}
	goOn := 0
	for _, a := range answers {
		switch got := harness.Receive(t, "an answer", a); {
		case hasCode(got.err, "outcome.unknown"):
			goOn++
		case !hasCode(got.err, "journal.unavailable"):
			t.Error(got.err)
		}
	}
	if n := journal.appends.Load(); goOn != 16 || n != 20 {
		t.Errorf("%d of %d commands go on, want 16 of 20", goOn, n)
	}
	began := time.Now()
	e.Close()
	if took := time.Since(began); took > harness.Patience/2 {
		t.Errorf("the stop took %s", took)
	}
}
