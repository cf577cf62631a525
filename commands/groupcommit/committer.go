package groupcommit

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Committer is a Journal that commits in groups, for one whose every append
// waits for the disk. Alone, an append goes as it is; while one round is on its
// way others wait, and go together: as one atomic batch with one sync where
// they are many, side by side where that is quicker on this disk. A batch that
// is refused is taken apart and each member tried alone, so that a stale
// one costs its neighbours a retry and no error.
type Committer struct {
	history.Journal
	batcher history.Batcher
	lanes   []lane // one a partition
}

// groupMost bounds a batch; larger ones gain nothing (measured on two cores),
// and the server takes 1,000.
const GroupMost = 512

// roundTime bounds one round; what it leaves unknown is tried again alone.
const roundTime = 8 * time.Second

// NewCommitter commits to j in groups.
func NewCommitter[J interface {
	history.Journal
	history.Batcher
}](j J, partitions int) *Committer {
	c := &Committer{Journal: j, batcher: j, lanes: make([]lane, partitions)}
	for i := range c.lanes {
		c.lanes[i].enough = make(chan struct{}, 1)
	}
	return c
}

// AppendAll implements Batcher.
func (c *Committer) AppendAll(ctx context.Context, writes []history.Write) (uint64, error) {
	got, err := c.commit(ctx, writes, func(ctx context.Context) (history.Appended, error) {
		last, err := c.batcher.AppendAll(ctx, writes)
		return history.Appended{Revision: last}, err
	})
	return got.Revision, err
}

// lane is the line of one partition: one round at a time.
type lane struct {
	mu      sync.Mutex
	waiting []*pending
	busy    bool
	want    int           // when so many wait, enough is told; 0 = nobody asks
	enough  chan struct{} // holds one

	// The worker's own, of which there is one at a time.
	costs     costs
	last      int           // members of the round before
	took      time.Duration // by the round before
	fruitless int           // rounds that are not waited for, as waiting brought nobody
}

// pending waits to be committed: with others, or alone.
type pending struct {
	writes []history.Write
	alone  func(ctx context.Context) (history.Appended, error)
	done   chan committed
}

type committed struct {
	at  history.Appended
	err error
}

// Append implements Journal.
func (c *Committer) Append(ctx context.Context, s events.Stream, after uint64, id string, evs []events.Event) (history.Appended, error) {
	writes := make([]history.Write, len(evs))
	for i := range evs {
		writes[i] = history.Write{Stream: s, Event: &evs[i]}
	}
	writes[0].First, writes[0].After, writes[0].ID = true, after, id
	return c.commit(ctx, writes, func(ctx context.Context) (history.Appended, error) {
		return c.Journal.Append(ctx, s, after, id, evs)
	})
}

func (c *Committer) commit(ctx context.Context, writes []history.Write, alone func(context.Context) (history.Appended, error)) (history.Appended, error) {
	p := &pending{writes: writes, alone: alone, done: make(chan committed, 1)}
	l := &c.lanes[c.Partition(writes[0].Stream.ID())]
	l.mu.Lock()
	l.waiting = append(l.waiting, p)
	if !l.busy {
		l.busy = true
		go c.work(l)
	} else if len(l.waiting) == l.want {
		l.enough <- struct{}{}
	}
	l.mu.Unlock()
	select {
	case got := <-p.done:
		return got.at, got.err
	case <-ctx.Done():
		return history.Appended{}, history.ErrOutcomeUnknown
	}
}

// work runs rounds until nobody waits.
func (c *Committer) work(l *lane) {
	for {
		l.mu.Lock()
		n := l.fitting()
		if n == 0 {
			l.busy, l.last = false, 0
			l.mu.Unlock()
			return
		}
		round := l.waiting[:n:n]
		l.waiting = l.waiting[n:]
		l.mu.Unlock()
		start, batch := time.Now(), l.costs.together(n)
		whole := c.round(round, batch)
		l.last, l.took = n, time.Since(start)
		if whole {
			l.costs.learn(batch, n, l.took)
		}
		l.gather()
	}
}

// fitting is how many of those who wait go together.
func (l *lane) fitting() int {
	room := GroupMost
	for i, p := range l.waiting {
		if room -= len(p.writes); room < 0 && i > 0 {
			return i
		}
	}
	return len(l.waiting)
}

// gatherMost bounds the wait for those whom a round has just answered.
const gatherMost = 3 * time.Millisecond

// gather waits a moment for those whom the last round has answered to come
// again, when their going together with those who wait would spare a round: a
// batch costs little more for twice the members. Nobody waits who is alone, or
// where the last time brought nobody.
func (l *lane) gather() {
	if l.fruitless > 0 {
		l.fruitless--
		return
	}
	l.mu.Lock()
	there := len(l.waiting)
	want := min(there+l.last, GroupMost)
	if there == 0 || there == want || !l.costs.worth(want) {
		l.mu.Unlock()
		return
	}
	l.want = want
	l.mu.Unlock()
	patience := time.NewTimer(min(l.took/2, gatherMost))
	defer patience.Stop()
	select {
	case <-l.enough:
	case <-patience.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.want = 0
	select {
	case <-l.enough: // it came with the timer
	default:
	}
	if len(l.waiting)-there < l.last/4 {
		l.fruitless = 16
	}
}

// round carries a round out, and tells false when its batch was taken apart.
func (c *Committer) round(round []*pending, batch bool) (whole bool) {
	ctx, cancel := context.WithTimeout(context.Background(), roundTime)
	defer cancel()
	if batch && c.together(ctx, round) {
		return true
	}
	var open sync.WaitGroup
	for _, p := range round {
		open.Go(func() {
			at, err := p.alone(ctx)
			p.done <- committed{at, err}
		})
	}
	open.Wait()
	return !batch
}

// together tries a round as one batch, and tells false when it was refused or
// its outcome is unknown; compare-and-set and message ids make trying its
// members again safe.
func (c *Committer) together(ctx context.Context, round []*pending) bool {
	writes := make([]history.Write, 0, len(round))
	streams := make(map[events.Stream]int, len(round))
	for i, p := range round {
		for _, w := range p.writes {
			// Two of one stream (one left behind by a command that ran out of time)
			// must not go together: a batch is checked against the state before it.
			if of, twice := streams[w.Stream]; twice && of != i {
				return false
			}
			streams[w.Stream] = i
		}
		writes = append(writes, p.writes...)
	}
	last, err := c.batcher.AppendAll(ctx, writes)
	if err != nil {
		return false
	}
	at := last - uint64(len(writes))
	for _, p := range round {
		at += uint64(len(p.writes))
		p.done <- committed{at: history.Appended{Revision: at}}
	}
	return true
}
