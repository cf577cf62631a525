package durable_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/infra/pg/pgtest"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
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
	db := pgtest.Migrated(t)
	v, l := durable.New(db, "durable"), &listener{let: make(chan struct{})}
	v.Notify = l
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	apply := func(to uint64) {
		t.Helper()
		if err := v.Apply(t.Context(), 0, to-1, to, projections.Changes{Entries: []readmodel.EntryChange{row("k", to)}}); err != nil {
			t.Error(err)
		}
	}
	apply(1) // would never come back if it waited
	const notified = `SELECT coalesce(notified, 0) FROM agents.checkpoints`
	if n := pgtest.Count(t, db, notified); n != 0 {
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
	waitFor(t, func() bool { return pgtest.Count(t, db, notified) == 2 })
	v.Settle()
	if len(l.heard) != 2 || l.heard[0] != 0 || l.heard[1] != 1 {
		t.Errorf("heard of %v", l.heard)
	}
	if n := pgtest.Count(t, db, notified); n != 2 {
		t.Errorf("told up to %d", n)
	}
}

// Who listens slowly holds the view up by a moment, no more, and hears
// of everything in the end: what was too much to remember, in one piece.
func TestNobodyWaitsForThoseWhoListenSlowly(t *testing.T) {
	for _, size := range []int{1, 12 << 20} {
		db := pgtest.Migrated(t)
		v, l := durable.New(db, "durable"), &listener{let: make(chan struct{})}
		v.Notify = l
		if _, err := v.Load(t.Context(), 0, "j"); err != nil {
			t.Fatal(err)
		}
		for to := uint64(1); to <= 4; to++ {
			c := row("k", to)
			c.Value = []byte(`"` + strings.Repeat("v", size) + `"`)
			if err := v.Apply(t.Context(), 0, to-1, to, projections.Changes{Entries: []readmodel.EntryChange{c}}); err != nil {
				t.Fatal(err)
			}
		}
		want := []uint64{0, 1, 2, 3}
		if size > 1 { // there is room for two
			want = []uint64{0, 1, 2}
		}
		for range want {
			l.let <- struct{}{}
		}
		waitFor(t, func() bool { return pgtest.Count(t, db, `SELECT coalesce(notified, 0) FROM agents.checkpoints`) == 4 })
		v.Settle()
		if !slices.Equal(l.heard, want) {
			t.Errorf("heard of %v", l.heard)
		}
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

// What could not be told is told again, also when no batch follows, and what was
// put right at no new position is told all the same. After a restart it is told
// from the journal, as far as each try gets.
func TestWhatCouldNotBeToldIsToldAgain(t *testing.T) {
	db := pgtest.Migrated(t)
	v, l := durable.New(db, "durable"), &moody{}
	v.Notify = l
	load := func() {
		t.Helper()
		if _, err := v.Load(t.Context(), 0, "j"); err != nil {
			t.Fatal(err)
		}
	}
	apply := func(from, to uint64, version uint64) {
		t.Helper()
		if err := v.Apply(t.Context(), 0, from, to, projections.Changes{Entries: []readmodel.EntryChange{row("k", version)}}); err != nil {
			t.Fatal(err)
		}
	}
	told := func(last string) {
		t.Helper()
		waitFor(t, func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.heard) > 0 && l.heard[len(l.heard)-1] == last
		})
		waitFor(t, func() bool { return pgtest.Count(t, db, `SELECT coalesce(notified, 0) FROM agents.checkpoints`) == 10 })
	}
	load()
	apply(0, 10, 10)
	apply(10, 10, 11)
	told("notify 10")
	if _, err := db.Pool().Exec(t.Context(), `UPDATE agents.checkpoints SET notified = 0`); err != nil {
		t.Fatal(err)
	}
	load()
	told("again 5-10")
	v.Settle()
	if want := []string{"notify 0", "notify 0", "notify 0", "notify 10", "again 0-10", "again 5-10"}; !slices.Equal(l.heard, want) {
		t.Errorf("heard of %v", l.heard)
	}
}

// moody fails twice and then gets half way.
type moody struct {
	mu    sync.Mutex
	tries int
	heard []string
}

func (m *moody) try(what string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = append(m.heard, what)
	m.tries++
	return m.tries
}

func (m *moody) Notify(_ context.Context, _ int, from uint64, _ []projections.Notice) error {
	if m.try(fmt.Sprintf("notify %d", from)) <= 2 {
		return errors.New("away")
	}
	return nil
}

func (m *moody) Again(_ context.Context, _ int, from, to uint64) (uint64, error) {
	if m.try(fmt.Sprintf("again %d-%d", from, to)); from == 0 {
		return to / 2, errors.New("half of it")
	}
	return to, nil
}

// Who has left a partition tells nothing more of it, and how far it has been
// told never goes back: the next to hold it may have told more.
func TestWhoHasLeftTellsNothing(t *testing.T) {
	db := pgtest.Migrated(t)
	l := &listener{let: make(chan struct{})}
	old, next := durable.New(db, "durable"), durable.New(db, "durable")
	old.Notify, next.Notify = l, &listener{let: closed()}
	for from, v := range []*durable.View{old, next} {
		if _, err := v.Load(t.Context(), 0, "j"); err != nil {
			t.Fatal(err)
		}
		at := uint64(from)
		if err := v.Apply(t.Context(), 0, at, at+1, projections.Changes{Entries: []readmodel.EntryChange{row("k", at+1)}}); err != nil {
			t.Fatal(err)
		}
	}
	told := func() int { return pgtest.Count(t, db, `SELECT coalesce(notified, 0) FROM agents.checkpoints`) }
	waitFor(t, func() bool { return told() == 2 })
	left := make(chan struct{})
	go func() {
		defer close(left)
		old.Leave(0)
	}()
	l.let <- struct{}{} // what it was telling when it left
	<-left              // nothing is being told any more
	if at := told(); at != 2 {
		t.Errorf("all was told up to 2, now up to %d", at)
	}
	if l.mu.Lock(); len(l.heard) != 1 {
		t.Errorf("heard after it had left: %v", l.heard)
	}
	l.mu.Unlock()
	next.Settle()
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Up to where all has been told is asked of SQL, which is never ahead of what was.
func TestUpToWhereAllHasBeenTold(t *testing.T) {
	db := pgtest.Migrated(t)
	v, l := durable.New(db, "durable"), &listener{let: make(chan struct{})}
	told := func(want uint64) {
		t.Helper()
		if at, err := v.Told(t.Context(), 0); at != want || err != nil {
			t.Errorf("told up to %d, %v; wanted %d", at, err, want)
		}
	}
	told(math.MaxUint64) // nobody listens, so nothing is told late
	v.Notify = l
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	told(0)
	if err := v.Apply(t.Context(), 0, 0, 3, projections.Changes{Entries: []readmodel.EntryChange{row("k", 3)}}); err != nil {
		t.Fatal(err)
	}
	told(0)
	l.let <- struct{}{}
	v.Settle()
	told(3)
	for notified, want := range map[string]uint64{"NULL": 3, "7": 3, "2": 2} {
		if _, err := db.Pool().Exec(t.Context(), `UPDATE agents.checkpoints SET notified = `+notified); err != nil {
			t.Fatal(err)
		}
		told(want)
	}
}
