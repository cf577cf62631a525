package commands

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// onePast is a journal of one aggregate, from an event on.
type onePast struct {
	history.Journal
	events []events.Record
	err    error
}

func (p *onePast) Last(context.Context, events.AggregateName, history.Freshness) (events.Record, bool, error) {
	return p.events[len(p.events)-1], true, nil
}

func (p *onePast) Since(_ context.Context, _ events.AggregateName, _ time.Time, yield func(events.Record) bool) error {
	for _, rec := range p.events {
		if !yield(rec) {
			return nil
		}
	}
	return p.err
}

// aPast has the events of a task that was started twice. The states they carry
// differ, as an older build's fold could have computed them.
func aPast() *onePast {
	p := &onePast{}
	for i, e := range []struct{ typ, data string }{
		{events.TaskCreated, `{"kind":"k"}`},
		{events.TaskStarted, `{"agent_id":"a"}`},
		{events.TaskFailed, `{"reason":"r"}`},
		{events.TaskStarted, `{"agent_id":"b"}`},
	} {
		p.events = append(p.events, events.Record{Name: events.Task("t"), Revision: uint64(10 + i), Event: events.Event{
			Type: e.typ, Aggregate: "task", ID: "t", Version: uint64(i + 1), Data: []byte(e.data), Schema: 1,
			State: []byte(`{"status":"started","kind":"k","attempts":1}`), Digest: fmt.Sprint("d", i+1),
		}})
	}
	return p
}

func TestACarriedStateIsTrustedFromItsFoldOn(t *testing.T) {
	for _, c := range []struct{ since, attempts int }{{1, 1}, {2, 2}} {
		h := NewHandler(aPast(), Config{})
		f := fold[task.Task]{task.Evolve, c.since}
		got, err := h.load(t.Context(), events.Task("t"), f.carried)
		if err != nil {
			t.Fatal(err)
		}
		if s := got.state.(task.Task); s.Attempts != c.attempts || s.Status != task.Started || got.version != 4 || got.revision != 13 || got.digest != "d4" {
			t.Errorf("a fold since schema %d: %+v of %+v", c.since, s, got)
		}
	}
}

func TestARefoldNeedsTheWholePast(t *testing.T) {
	f := fold[task.Task]{task.Evolve, 2}
	p := aPast()
	p.events = p.events[2:]
	_, err := NewHandler(p, Config{}).load(t.Context(), events.Task("t"), f.carried)
	var known *domain.Error
	if !errors.As(err, &known) || known.Code != "journal.trimmed" {
		t.Errorf("without its beginning: %v", err)
	}
	p = aPast()
	p.events[1].Data = []byte(`{"agent_id":7}`)
	if _, err := NewHandler(p, Config{}).load(t.Context(), events.Task("t"), f.carried); err == nil {
		t.Error("an event that cannot be folded was passed over")
	}
}
