package projections

import (
	"context"
	"fmt"
	"sync"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// Gate makes a view follow another view of the same journal: an event is delivered once the
// leading view has passed it. Events that the leading view has quarantined are quarantined here
// too; events that it has dropped are skipped.
type Gate struct {
	view   string // the leading view
	behind Target
	at     *Progress // of the leading view; zero until its quarantine is loaded

	mu      sync.Mutex
	relays  []*history.Relay // what the leading view has applied; nil until its quarantine is loaded
	started chan struct{}    // closed and replaced when a relay is made
}

// NewGate makes the view of the target behind follow the named view. One gate serves all
// partitions.
func NewGate(view string, partitions int, behind Target) *Gate {
	return &Gate{view: view, behind: behind, at: NewProgress(partitions),
		relays: make([]*history.Relay, partitions), started: make(chan struct{})}
}

// reset starts a partition at the position that the leading view has loaded.
func (g *Gate) reset(partition int, at uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at.Reset(partition, at)
	if old := g.relays[partition]; old != nil {
		old.End()
	}
	g.relays[partition] = history.NewRelay(at)
	close(g.started)
	g.started = make(chan struct{})
}

// passed hands on a batch that the leading view has applied.
func (g *Gate) passed(partition int, to uint64, batch []history.Message) {
	g.mu.Lock()
	relay := g.relays[partition]
	g.mu.Unlock()
	relay.Add(batch)
	g.at.Set(partition, to)
}

// relay waits until the leading view has loaded its position.
func (g *Gate) relay(ctx context.Context, partition int) (*history.Relay, error) {
	for {
		g.mu.Lock()
		relay, started := g.relays[partition], g.started
		g.mu.Unlock()
		if relay != nil {
			return relay, nil
		}
		select {
		case <-started:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// cursor delivers the messages that the leading view has passed.
func (g *Gate) cursor(cur history.Cursor, partition int) history.Cursor {
	ctx, cancel := context.WithCancel(context.Background())
	c := &gateCursor{Cursor: cur, out: make(chan history.Message, 64), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer close(c.out)
		for {
			select {
			case m, ok := <-cur.Messages():
				if !ok || !g.at.Wait(ctx, partition, m.Revision) {
					return
				}
				select {
				case c.out <- m:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}

type gateCursor struct {
	history.Cursor
	out    chan history.Message
	cancel context.CancelFunc
	done   chan struct{}
}

func (c *gateCursor) Messages() <-chan history.Message { return c.out }

func (c *gateCursor) Stop() {
	c.cancel()
	<-c.done
	c.Cursor.Stop()
}

// read follows the journal, or behind a gate what the leading view hands on.
func (r *Runner) read(ctx context.Context, from uint64) (history.Cursor, error) {
	if r.Follows == nil {
		return r.Source.Read(ctx, r.Partition, from)
	}
	relay, err := r.Follows.relay(ctx, r.Partition)
	if err != nil {
		return nil, err
	}
	return relay.Read(ctx, from, func(ctx context.Context, after uint64) (history.Cursor, error) {
		cur, err := r.Source.Read(ctx, r.Partition, after)
		if err != nil {
			return nil, err
		}
		return r.Follows.cursor(cur, r.Partition), nil
	}), nil
}

// frontQuarantine returns the leading view's quarantine by aggregate.
func (r *Runner) frontQuarantine() map[events.AggregateName]quarantine.Entry {
	if r.Follows == nil {
		return nil
	}
	var front map[events.AggregateName]quarantine.Entry
	for _, h := range r.Quarantine.Cached(r.Follows.view, r.Partition) {
		if h.AppliedAt > 0 || h.Journal != r.Source.ID() {
			continue
		}
		if front == nil {
			front = map[events.AggregateName]quarantine.Entry{}
		}
		front[h.Stream] = h
	}
	return front
}

// applyFrontQuarantine removes the events that the leading view has dropped and sets Bad on those
// that it has quarantined.
func (r *Runner) applyFrontQuarantine(batch []history.Message) []history.Message {
	front := r.frontQuarantine()
	if len(front) == 0 {
		return batch
	}
	rest := make([]history.Message, 0, len(batch))
	for _, m := range batch {
		if h, ok := front[m.Name]; ok && h.Excludes(m.Revision) {
			if h.Dropped {
				continue
			}
			m.Bad = fmt.Errorf("quarantined by the view %s: %s", h.View, h.Reason)
		}
		rest = append(rest, m)
	}
	return rest
}

// releasedInFront reports, once for each event, that the leading view no longer quarantines the
// event that h waits for.
func (r *Runner) releasedInFront(h *quarantine.Entry) bool {
	if r.Follows == nil || r.retried[h.Stream] == h.First {
		return false
	}
	if front, ok := r.frontQuarantine()[h.Stream]; ok && !front.Dropped && front.Excludes(h.First) {
		return false
	}
	r.retried[h.Stream] = h.First
	return true
}

// adoptFrontQuarantine quarantines what the leading view quarantines from a revision on that this
// view has passed. This happens when this view starts at that position or has lost its own
// quarantine.
func (r *Runner) adoptFrontQuarantine(ctx context.Context, from uint64) error {
	for s, front := range r.frontQuarantine() {
		if front.Dropped || front.First > from || r.quarantined[s] != nil {
			continue
		}
		m := history.Message{}
		m.Name, m.Revision = s, front.First
		c := r.foldOf([]history.Message{m})
		if len(c.Poison) == 0 {
			continue // the view has no use for events of this aggregate
		}
		r.setAside(&c.Poison[0])
		h := r.quarantined[s]
		h.Last, h.Waiting = front.Last, front.Waiting
		if err := r.Quarantine.Put(ctx, *h); err != nil {
			return fmt.Errorf("quarantine %s: %w", s, err)
		}
	}
	return nil
}

// followerBehind reports whether the following view has not passed a revision yet.
func (r *Runner) followerBehind(ctx context.Context, revision uint64) (bool, error) {
	if r.Leads == nil {
		return false, nil
	}
	at, err := r.Leads.behind.Load(ctx, r.Partition, r.Source.ID())
	return at < revision, err
}
