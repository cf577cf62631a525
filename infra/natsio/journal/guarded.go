package journal

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// gate holds the appends in flight, which end when it closes.
type gate struct{ state atomic.Pointer[gateState] }

type gateState struct {
	refusal *domain.Error
	open    context.Context // ends when the gate closes
	close   context.CancelFunc
}

func openGate() *gateState {
	s := &gateState{}
	s.open, s.close = context.WithCancel(context.Background())
	return s
}

// set closes the gate with a refusal; nil opens it.
func (g *gate) set(refusal *domain.Error) {
	next := openGate()
	if next.refusal = refusal; refusal != nil {
		next.close()
	}
	if before := g.state.Swap(next); before != nil && refusal != nil {
		before.close()
	}
}

// guarded is a journal whose answers depend on a guard.
type guarded struct {
	history.Journal
	g *Guard
}

// Wrap returns next with the guard before it. Appends fail at once while the
// guard refuses them. Reads that a decision rests on fail while the journal is
// lost.
func (g *Guard) Wrap(next history.Journal) history.Journal {
	g.setGate()
	return &guarded{next, g}
}

// Append implements history.Appender. An append that waits when the guard begins
// to refuse has an unknown outcome.
func (j *guarded) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	gate := j.g.gate.state.Load()
	if gate.refusal != nil {
		return history.Appended{}, gate.refusal
	}
	if err := j.g.pauses.refusal(); err != nil {
		return history.Appended{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(gate.open, cancel)()
	p := j.Partition(writes[0].Name.ID())
	before := j.g.acked[p].Load()
	done, err := j.Journal.Append(ctx, writes)
	var refused *domain.Error
	switch {
	case err == nil:
		switch {
		case done.Duplicate:
		case before != nil && done.Revision <= before.Revision: // the journal was shortened, and grows again
			j.g.gone[p].CompareAndSwap(nil, before)
		default:
			raise(&j.g.acked[p], &Point{Revision: done.Revision, Digest: writes[len(writes)-1].Event.Digest})
		}
	case errors.As(err, &refused) && refused.Code == "journal.full":
		j.g.refused.Store(time.Now().UnixNano())
		j.g.limit.Store(limitReached)
	}
	return done, err
}

// raise sets a to the newer of a and to.
func raise(a *atomic.Pointer[Point], to *Point) {
	for {
		old := a.Load()
		if old != nil && old.Revision >= to.Revision || a.CompareAndSwap(old, to) {
			return
		}
	}
}

// Last implements history.Journal.
func (j *guarded) Last(ctx context.Context, s events.AggregateName, f history.Freshness) (rec events.Record, ok bool, err error) {
	if err := j.g.Lost(); err != nil {
		return rec, false, err
	}
	return j.Journal.Last(ctx, s, f)
}

// Since implements history.Journal.
func (j *guarded) Since(ctx context.Context, s events.AggregateName, from time.Time, yield func(events.Record) bool) error {
	if err := j.g.Lost(); err != nil {
		return err
	}
	return j.Journal.Since(ctx, s, from, yield)
}

// At implements history.Journal.
func (j *guarded) At(ctx context.Context, partition int, revision uint64) (rec events.Record, err error) {
	if err := j.g.Lost(); err != nil {
		return rec, err
	}
	return j.Journal.At(ctx, partition, revision)
}
