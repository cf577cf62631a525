package commands_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// paper is a journal on paper: it is always empty and remembers what was
// appended. It serves tests of reading alone; carrying out is tested on real
// servers.
type paper struct {
	mu       sync.Mutex
	appended []events.Event
}

func (p *paper) Append(_ context.Context, _ events.Stream, _ uint64, _ string, evs []events.Event) (history.Appended, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.appended = append(p.appended, evs...)
	return history.Appended{Revision: uint64(len(p.appended))}, nil
}

func (p *paper) Last(context.Context, events.Stream, history.Freshness) (events.Record, bool, error) {
	return events.Record{}, false, nil
}

func (p *paper) Since(context.Context, events.Stream, time.Time, func(events.Record) bool) error {
	return nil
}

func (p *paper) At(context.Context, int, uint64) (events.Record, error) {
	return events.Record{}, errors.New("nothing is stored on paper")
}

func (p *paper) Trimmed(context.Context, int) (uint64, error) { return 0, nil }

func (p *paper) Partition(string) int { return 0 }
func (p *paper) Incarnation() string  { return "paper000" }

// noon is when all of these tests happen.
var noon = time.Date(2026, 6, 7, 12, 0, 0, 0, time.UTC)

// handle carries one request out on an empty journal and returns what came of
// it and what was appended.
func handle(t *testing.T, req commands.Request) (commands.Receipt, []events.Event, error) {
	t.Helper()
	journal := &paper{}
	h := commands.NewHandler(journal, commands.Config{Now: func() time.Time { return noon }})
	defer h.Close()
	type answer struct {
		receipt commands.Receipt
		err     error
	}
	answers := make(chan answer, 2)
	h.Handle(t.Context(), req, func(r commands.Receipt, err error) { answers <- answer{r, err} })
	got := <-answers
	h.Close()
	if len(answers) > 0 {
		t.Errorf("%v was answered twice", req)
	}
	if h.InFlight() != 0 {
		t.Errorf("%d commands are in flight", h.InFlight())
	}
	return got.receipt, journal.appended, got.err
}
