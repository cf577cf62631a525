package projections

import (
	"context"
	"fmt"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// Gate keeps a view behind another one of the same journal: an event passes
// once the view in front has passed it. What the view in front has quarantined,
// the view behind quarantines too; what it has dropped, the view behind passes
// over.
type Gate struct {
	view   string // in front
	behind Target
	at     *Progress // of the view in front; zero until its quarantine is loaded
}

// NewGate keeps the view of the target behind the view that is named. One gate
// serves all partitions.
func NewGate(view string, partitions int, behind Target) *Gate {
	return &Gate{view: view, behind: behind, at: NewProgress(partitions)}
}

// cursor delivers what passes the gate.
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

// read follows the journal, as far as the view may.
func (r *Runner) read(ctx context.Context, from uint64) (history.Cursor, error) {
	cur, err := r.Source.Read(ctx, r.Partition, from)
	if err != nil || r.Follows == nil {
		return cur, err
	}
	return r.Follows.cursor(cur, r.Partition), nil
}

// head is up to where the view may read.
func (r *Runner) head(ctx context.Context) (uint64, error) {
	head, err := r.Source.Head(ctx, r.Partition)
	if r.Follows != nil {
		head = min(head, r.Follows.at.At(r.Partition))
	}
	return head, err
}

// inFront is what the view in front leaves out, by aggregate.
func (r *Runner) inFront() map[events.Stream]quarantine.Held {
	if r.Follows == nil {
		return nil
	}
	var held map[events.Stream]quarantine.Held
	for _, h := range r.Quarantine.Known(r.Follows.view, r.Partition) {
		if h.Level > 0 || h.Journal != r.Source.ID() {
			continue
		}
		if held == nil {
			held = map[events.Stream]quarantine.Held{}
		}
		held[h.Stream] = h
	}
	return held
}

// mark returns the events without those that the view in front has dropped, and
// sets Bad on those that it has quarantined.
func (r *Runner) mark(batch []history.Message) []history.Message {
	held := r.inFront()
	if len(held) == 0 {
		return batch
	}
	rest := make([]history.Message, 0, len(batch))
	for _, m := range batch {
		if h, ok := held[m.Stream]; ok && h.LeavesOut(m.Revision) {
			if h.Dropped {
				continue
			}
			m.Bad = fmt.Errorf("quarantined by the view %s: %s", h.View, h.Reason)
		}
		rest = append(rest, m)
	}
	return rest
}

// released tells, once for each event, that the view in front no longer
// quarantines the event that h waits for.
func (r *Runner) released(h *quarantine.Held) bool {
	if r.Follows == nil || r.retried[h.Stream] == h.First {
		return false
	}
	if front, ok := r.inFront()[h.Stream]; ok && !front.Dropped && front.LeavesOut(h.First) {
		return false
	}
	r.retried[h.Stream] = h.First
	return true
}

// holdInFront quarantines what the view in front does from a revision on that
// this view has passed: it began there, or its own quarantine was lost.
func (r *Runner) holdInFront(ctx context.Context, from uint64) error {
	for s, front := range r.inFront() {
		if front.Dropped || front.First > from || r.held[s] != nil {
			continue
		}
		m := history.Message{}
		m.Stream, m.Revision = s, front.First
		c := r.foldOf([]history.Message{m})
		if len(c.Poison) == 0 {
			continue // the view has no use for events of this aggregate
		}
		r.hold(&c.Poison[0])
		h := r.held[s]
		h.Last, h.Waiting = front.Last, front.Waiting
		if err := r.Quarantine.Put(ctx, *h); err != nil {
			return fmt.Errorf("quarantine %s: %w", s, err)
		}
	}
	return nil
}

// unfollowed tells whether the view behind has not passed a revision yet.
func (r *Runner) unfollowed(ctx context.Context, revision uint64) (bool, error) {
	if r.Leads == nil {
		return false, nil
	}
	at, err := r.Leads.behind.Load(ctx, r.Partition, r.Source.ID())
	return at < revision, err
}
