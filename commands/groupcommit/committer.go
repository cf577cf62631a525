package groupcommit

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Committer is a journal that groups concurrent appends, for a journal on which
// each append waits for the disk. A single append passes through. While a round
// is under way, further appends wait and go together in the next round. When a
// batch is refused, each of its appends is sent separately, so that a conflict
// of one does not fail the others.
type Committer struct {
	history.Journal
	lanes []lane // by partition
}

// roundTimeout bounds one round. Appends whose outcome is then unknown are
// retried by their callers.
const roundTimeout = 8 * time.Second

// New groups the appends to a journal with that many partitions.
func New(journal history.Journal, partitions int) *Committer {
	c := &Committer{Journal: journal, lanes: make([]lane, partitions)}
	for i := range c.lanes {
		c.lanes[i].complete = make(chan struct{}, 1)
	}
	return c
}

// pending is an append that waits for its round.
type pending struct {
	writes []history.Write
	load   int64 // see WithLoad
	bytes  int
	done   chan result
}

type loadKey struct{}

// WithLoad returns the context of an append whose client has so much under way, in
// bytes. Where more appends wait than fit in a round, those of the least load go first,
// so that a client that floods the engine delays itself.
func WithLoad(ctx context.Context, load int64) context.Context {
	return context.WithValue(ctx, loadKey{}, load)
}

func newPending(ctx context.Context, writes []history.Write) *pending {
	p := &pending{writes: writes, done: make(chan result, 1)}
	p.load, _ = ctx.Value(loadKey{}).(int64)
	for _, w := range writes {
		p.bytes += len(w.Event.Data) + len(w.Event.State)
	}
	return p
}

type result struct {
	appended history.Appended
	err      error
}

// Append implements history.Appender.
func (c *Committer) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	p := newPending(ctx, writes)
	l := &c.lanes[c.Partition(writes[0].Name.ID())]
	if l.add(p) {
		go c.work(l)
	}
	select {
	case got := <-p.done:
		return got.appended, got.err
	case <-ctx.Done():
		return history.Appended{}, history.ErrOutcomeUnknown
	}
}

// work runs rounds until no append waits.
func (c *Committer) work(l *lane) {
	for round := l.next(); len(round) > 0; round = l.next() {
		start, batch := time.Now(), l.policy.useBatch(len(round))
		asDecided := c.commit(round, batch)
		l.last, l.took = len(round), time.Since(start)
		if asDecided {
			l.policy.measured(batch, len(round), l.took)
		}
		l.collect()
	}
}

// commit sends the appends of a round. It reports false when they were to go as
// one batch and had to be sent separately.
func (c *Committer) commit(round []*pending, batch bool) (asDecided bool) {
	ctx, cancel := context.WithTimeout(context.Background(), roundTimeout)
	defer cancel()
	if batch && c.commitBatch(ctx, round) {
		return true
	}
	var open sync.WaitGroup
	for _, p := range round {
		open.Go(func() {
			appended, err := c.Journal.Append(ctx, p.writes)
			p.done <- result{appended, err}
		})
	}
	open.Wait()
	return !batch
}

// commitBatch sends a round as one atomic batch. It reports false when the
// batch was refused or its outcome is unknown; compare-and-set and message ids
// make it safe to send its appends again.
func (c *Committer) commitBatch(ctx context.Context, round []*pending) bool {
	writes := make([]history.Write, 0, len(round))
	writer := make(map[events.AggregateName]int, len(round))
	for i, p := range round {
		for _, w := range p.writes {
			// A batch is checked against the state before it, so two appends to one
			// aggregate (one may be left over from a command that timed out) cannot
			// share it.
			if first, twice := writer[w.Name]; twice && first != i {
				return false
			}
			writer[w.Name] = i
		}
		writes = append(writes, p.writes...)
	}
	// gofail: var roundBegin struct{}
	// return false
	appended, err := c.Journal.Append(ctx, writes)
	if err != nil {
		return false
	}
	// gofail: var roundStored struct{}
	// return false
	revision := appended.Revision - uint64(len(writes))
	for _, p := range round {
		revision += uint64(len(p.writes))
		p.done <- result{appended: history.Appended{Revision: revision}}
	}
	return true
}
