package commands

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Committer is a Journal that commits in groups, for one whose every append
// waits for the disk. Alone, an append goes as it is; while one round is on its
// way others wait, and go together as one atomic batch with one sync. A batch
// that is refused is taken apart and each member tried alone, so that a stale
// one costs its neighbours a retry and no error.
type Committer struct {
	Journal
	batcher Batcher
	lanes   []lane // one a partition
}

// Group commit's bounds. Measured on two cores: below a handful, singles are
// faster than a batch; beyond a few hundred, batches no longer gain.
const (
	groupLeast = 6
	groupMost  = 256
)

// roundTime bounds one round; what it leaves unknown is tried again alone.
const roundTime = 8 * time.Second

// NewCommitter commits to j in groups.
func NewCommitter[J interface {
	Journal
	Batcher
}](j J, partitions int) *Committer {
	return &Committer{Journal: j, batcher: j, lanes: make([]lane, partitions)}
}

// AppendAll implements Batcher.
func (c *Committer) AppendAll(ctx context.Context, writes []Write) (uint64, error) {
	return c.batcher.AppendAll(ctx, writes)
}

// lane is the line of one partition: one round at a time.
type lane struct {
	mu      sync.Mutex
	waiting []*pending
	busy    bool
}

type pending struct {
	s     events.Stream
	after uint64
	id    string
	ev    []events.Event
	done  chan committed
}

type committed struct {
	at  Appended
	err error
}

// Append implements Journal.
func (c *Committer) Append(ctx context.Context, s events.Stream, after uint64, id string, evs []events.Event) (Appended, error) {
	if len(evs) != 1 {
		return c.Journal.Append(ctx, s, after, id, evs)
	}
	p := &pending{s: s, after: after, id: id, ev: evs, done: make(chan committed, 1)}
	l := &c.lanes[c.Partition(s.ID())]
	l.mu.Lock()
	l.waiting = append(l.waiting, p)
	if !l.busy {
		l.busy = true
		go c.work(l)
	}
	l.mu.Unlock()
	select {
	case got := <-p.done:
		return got.at, got.err
	case <-ctx.Done():
		return Appended{}, ErrOutcomeUnknown
	}
}

// work runs rounds until nobody waits.
func (c *Committer) work(l *lane) {
	for {
		l.mu.Lock()
		n := min(len(l.waiting), groupMost)
		if n == 0 {
			l.busy = false
			l.mu.Unlock()
			return
		}
		round := l.waiting[:n:n]
		l.waiting = l.waiting[n:]
		l.mu.Unlock()
		c.round(round)
	}
}

func (c *Committer) round(round []*pending) {
	ctx, cancel := context.WithTimeout(context.Background(), roundTime)
	defer cancel()
	if len(round) >= groupLeast && c.together(ctx, round) {
		return
	}
	var open sync.WaitGroup
	for _, p := range round {
		open.Add(1)
		go func() {
			defer open.Done()
			at, err := c.Journal.Append(ctx, p.s, p.after, p.id, p.ev)
			p.done <- committed{at, err}
		}()
	}
	open.Wait()
}

// together tries a round as one batch, and tells false when it was refused or
// its outcome is unknown; compare-and-set and message ids make trying its
// members again safe.
func (c *Committer) together(ctx context.Context, round []*pending) bool {
	writes := make([]Write, len(round))
	streams := make(map[events.Stream]struct{}, len(round))
	for i, p := range round {
		// Two of one stream (one left behind by a command that ran out of time)
		// must not go together: a batch is checked against the state before it.
		if _, twice := streams[p.s]; twice {
			return false
		}
		streams[p.s] = struct{}{}
		writes[i] = Write{Stream: p.s, First: true, After: p.after, ID: p.id, Event: &p.ev[0]}
	}
	last, err := c.batcher.AppendAll(ctx, writes)
	if err != nil {
		return false
	}
	for i, p := range round {
		p.done <- committed{at: Appended{Revision: last - uint64(len(round)-1-i)}}
	}
	return true
}
