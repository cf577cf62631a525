package app

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// lateJournal has an open session, and answers from its third request on.
type lateJournal struct {
	history.JournalStore
	requests int
}

func (j *lateJournal) Partitions() int { return 1 }

func (j *lateJournal) Range(_ context.Context, r history.Range, yield func(history.Message) error) error {
	if j.requests++; j.requests < 3 {
		return errors.New("no answer")
	}
	if r.Aggregate != "session.*" {
		return nil
	}
	return yield(history.Message{Record: events.Record{Name: events.Session("s1"), Revision: 1, Event: events.Event{
		Aggregate: "session", ID: "s1", State: []byte(`{"status":"open","expires_at":"1999-12-31T00:00:00Z"}`),
	}}})
}

// TestAStartBesideASilentJournal: what was active before a start expires also where the journal
// does not answer at the start.
func TestAStartBesideASilentJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := make(chan string, 10)
		send := func(_ context.Context, r commands.Request) (commands.Receipt, error) {
			sent <- r.Verb + " " + r.ID
			return commands.Receipt{}, nil
		}
		log := slog.New(slog.DiscardHandler)
		never := func() time.Duration { return 0 }
		k := &clock{
			commands: &commandSide{activity: reactors.NewActivity(never, send, nil, log)},
			journal:  &journalReader{history: history.New(&lateJournal{}, nil, 0)}, log: log,
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		k.keepTime(ctx)
		if len(sent) != 1 || <-sent != "expire s1" {
			t.Errorf("the session that ended before the start is not expired")
		}
	})
}

// TestAnInterruptedHydrationIsTriedAgain: what waits for a reactor at the start is done without
// another start, also where the first attempts fail.
func TestAnInterruptedHydrationIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := map[string]int{}
		k := &clock{log: slog.New(slog.DiscardHandler), commands: &commandSide{}, reactors: []reactors.Reactor{{
			Types: []string{events.HydrationStarted},
			React: func(_ context.Context, rec events.Record, _ reactors.Send) error {
				if tries[rec.ID]++; rec.ID == "late" && tries[rec.ID] < 4 {
					return errors.New("no answer")
				}
				return nil
			},
		}}}
		open := func(id string) events.Record {
			return events.Record{Event: events.Event{ID: id, Type: events.HydrationStarted}}
		}
		k.resume(t.Context(), []events.Record{open("late"), open("other")})
		if tries["late"] != 4 || tries["other"] != 1 {
			t.Errorf("attempts: %v", tries)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if left, err := k.react(stopped, []events.Record{open("late"), open("other")}); len(left) != 2 || err == nil || tries["late"] != 4 {
			t.Errorf("at a stop %d are left, %v, attempts: %v", len(left), err, tries)
		}
	})
}
