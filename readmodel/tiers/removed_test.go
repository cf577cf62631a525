package tiers

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// truth is a journal in memory, with lower tiers that lag behind it, for tests
// of what the tiers promise together. Real tiers are tested in test/views.
type truth struct {
	JournalTier
	mu     sync.Mutex
	events []change // revision = index + 1
	hot    place    // how far KV has read
	asked  atomic.Int64
}

type change struct {
	readmodel.Entry
	deleted bool
}

// place is a position that may be waited for.
type place struct{ at atomic.Uint64 }

func (p *place) At(int) uint64 { return p.at.Load() }

func (p *place) Wait(ctx context.Context, _ int, position uint64) bool {
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

// append adds an event on a key; every value says its revision.
func (j *truth) append(key string, deleted bool) change {
	j.mu.Lock()
	defer j.mu.Unlock()
	revision := uint64(len(j.events) + 1)
	c := change{deleted: deleted, Entry: readmodel.Entry{Agent: "a", Key: key, Version: revision, Revision: revision, Value: fmt.Append(nil, revision)}}
	j.events = append(j.events, c)
	return c
}

func (j *truth) head() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.events))
}

func (j *truth) at(revision uint64) change {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.events[revision-1]
}

// asOf is the last event on a key up to a revision; its revision is 0 where
// there is none.
func (j *truth) asOf(key string, revision uint64) change {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := int(revision) - 1; i >= 0; i-- {
		if j.events[i].Key == key {
			return j.events[i]
		}
	}
	return change{deleted: true}
}

// The lower tiers.

func (j *truth) Partition(string) int { return 0 }

func (j *truth) Partitions() int { return 1 }

func (j *truth) Incarnation() string { return "q8058336" }

func (j *truth) Get(_ context.Context, _, key string) (readmodel.Entry, bool, error) {
	j.asked.Add(1)
	c := j.asOf(key, j.hot.At(0))
	return c.Entry, !c.deleted, nil
}

func (j *truth) Fill(context.Context, *readmodel.Entry) error { return nil }

func (j *truth) Remove(context.Context, *readmodel.Entry) error { return nil }

func (j *truth) Last(_ context.Context, _, key string) (readmodel.Entry, bool, uint64, error) {
	j.asked.Add(1)
	c := j.asOf(key, j.head())
	return c.Entry, !c.deleted, c.Revision, nil
}
