package tiers

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// fakeJournal is an in-memory journal with lower tiers that lag behind it. test/views uses real
// tiers.
type fakeJournal struct {
	JournalTier
	mu     sync.Mutex
	events []change     // revision = index + 1
	hot    fakeProgress // the position of KV
	asked  atomic.Int64 // number of reads
}

type change struct {
	readmodel.Entry
	deleted bool
}

// fakeProgress is a position that a reader can wait for.
type fakeProgress struct{ at atomic.Uint64 }

func (p *fakeProgress) At(int) uint64 { return p.at.Load() }

func (p *fakeProgress) Wait(ctx context.Context, _ int, position uint64) bool {
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for p.at.Load() < position {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// append adds an event of a key; its value is its revision.
func (j *fakeJournal) append(key string, deleted bool) change {
	j.mu.Lock()
	defer j.mu.Unlock()
	revision := uint64(len(j.events) + 1)
	c := change{deleted: deleted, Entry: readmodel.Entry{Agent: "a", Key: key, Version: revision, Revision: revision, Value: fmt.Append(nil, revision)}}
	j.events = append(j.events, c)
	return c
}

func (j *fakeJournal) head() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.events))
}

func (j *fakeJournal) at(revision uint64) change {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.events[revision-1]
}

// asOf is the last event of a key up to a revision; its revision is 0 when there is none.
func (j *fakeJournal) asOf(key string, revision uint64) change {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := int(revision) - 1; i >= 0; i-- {
		if j.events[i].Key == key {
			return j.events[i]
		}
	}
	return change{deleted: true}
}

func (j *fakeJournal) Partition(string) int { return 0 }

func (j *fakeJournal) Partitions() int { return 1 }

func (j *fakeJournal) Incarnation() string { return "q8058336" }

func (j *fakeJournal) Get(_ context.Context, _, key string) (readmodel.Entry, bool, error) {
	j.asked.Add(1)
	c := j.asOf(key, j.hot.At(0))
	return c.Entry, !c.deleted, nil
}

func (j *fakeJournal) Fill(context.Context, *readmodel.Entry) error { return nil }

func (j *fakeJournal) Remove(context.Context, *readmodel.Entry) error { return nil }

func (j *fakeJournal) Last(_ context.Context, _, key string) (readmodel.Entry, bool, uint64, error) {
	j.asked.Add(1)
	c := j.asOf(key, j.head())
	return c.Entry, !c.deleted, c.Revision, nil
}
