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

// paper is a journal that always reads as empty and records what was appended.
// It serves tests of reading requests only; execution is tested on real servers.
type paper struct {
	mu       sync.Mutex
	appended []events.Event
}

func (p *paper) Append(_ context.Context, writes []history.Write) (history.Appended, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range writes {
		p.appended = append(p.appended, *w.Event)
	}
	return history.Appended{Revision: uint64(len(p.appended))}, nil
}

func (p *paper) Last(context.Context, events.AggregateName, history.Freshness) (events.Record, bool, error) {
	return events.Record{}, false, nil
}

func (p *paper) Since(context.Context, events.AggregateName, time.Time, func(events.Record) bool) error {
	return nil
}

func (p *paper) At(context.Context, int, uint64) (events.Record, error) {
	return events.Record{}, errors.New("this journal is never read")
}

func (p *paper) Trimmed(context.Context, int) (uint64, time.Time, error) { return 0, time.Time{}, nil }

func (p *paper) Partition(string) int { return 0 }
func (p *paper) Incarnation() string  { return "paper000" }

// noon is the time of all these tests.
var noon = time.Date(2026, 6, 7, 12, 0, 0, 0, time.UTC)

// handle executes one request on an empty journal and returns the answer and the
// appended events.
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
