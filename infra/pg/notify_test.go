package pg_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
)

// listener takes its time: it hears of a batch when it is let.
type listener struct {
	let   chan struct{}
	mu    sync.Mutex
	heard []uint64 // after which revision each batch began
}

func (l *listener) Notify(_ context.Context, _ int, from uint64, _ []projections.Notice) error {
	<-l.let
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, from)
	return nil
}

func (l *listener) Again(ctx context.Context, partition int, from, to uint64) (uint64, error) {
	return to, l.Notify(ctx, partition, from, nil)
}

// While one batch is told the next can be folded; they are told in order, and
// how far that has come is noted only afterwards.
func TestABatchDoesNotWaitUntilItIsTold(t *testing.T) {
	db := migrated(t)
	v, l := pg.NewDurable(db, "durable"), &listener{let: make(chan struct{})}
	v.Notify = l
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	apply := func(to uint64) {
		t.Helper()
		if err := v.Apply(t.Context(), 0, to-1, to, projections.Changes{Entries: []projections.EntryChange{row("k", to)}}); err != nil {
			t.Error(err)
		}
	}
	apply(1) // would never come back if it waited
	const notified = `SELECT coalesce(notified, 0) FROM agents.checkpoints`
	if n := count(t, db, notified); n != 0 {
		t.Errorf("told up to %d while nobody has heard", n)
	}
	second := make(chan struct{})
	go func() {
		defer close(second)
		apply(2)
	}()
	l.let <- struct{}{}
	<-second
	l.let <- struct{}{}
	waitFor(t, func() bool { return count(t, db, notified) == 2 })
	v.Settle()
	if len(l.heard) != 2 || l.heard[0] != 0 || l.heard[1] != 1 {
		t.Errorf("heard of %v", l.heard)
	}
	if n := count(t, db, notified); n != 2 {
		t.Errorf("told up to %d", n)
	}
}

// Who listens slowly holds the view up by a moment a batch, no more, and hears
// of everything in the end: what he missed in one piece.
func TestNobodyWaitsForThoseWhoListenSlowly(t *testing.T) {
	db := migrated(t)
	v, l := pg.NewDurable(db, "durable"), &listener{let: make(chan struct{})}
	v.Notify = l
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	for to := uint64(1); to <= 3; to++ {
		if err := v.Apply(t.Context(), 0, to-1, to, projections.Changes{Entries: []projections.EntryChange{row("k", to)}}); err != nil {
			t.Fatal(err)
		}
	}
	l.let <- struct{}{}
	l.let <- struct{}{}
	waitFor(t, func() bool { return count(t, db, `SELECT coalesce(notified, 0) FROM agents.checkpoints`) == 3 })
	v.Settle()
	if len(l.heard) != 2 || l.heard[0] != 0 || l.heard[1] != 1 {
		t.Errorf("heard of %v", l.heard)
	}
}

func waitFor(t *testing.T, there func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !there(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}
