package history

import (
	"context"
	"sync"
	"time"
)

// Source is what a view follows.
type Source interface {
	Partitions() int
	ID() string // incarnation of the journal
	// Head is the revision of the partition's last entry; 0 = it is empty.
	Head(ctx context.Context, partition int) (uint64, error)
	// Read follows a partition from just after a position, for ever.
	Read(ctx context.Context, partition int, after uint64) (Cursor, error)
	// DigestAt is the digest of the event at a revision; found is false where
	// there is no entry.
	DigestAt(ctx context.Context, partition int, revision uint64) (digest string, found bool, err error)
	// Trimmed is how far a partition was trimmed; see JournalStore.
	Trimmed(ctx context.Context, partition int) (cut uint64, at time.Time, err error)
}

// Cursor yields the entries of a partition in order and without gaps.
type Cursor interface {
	// Messages delivers until Stop; it is closed when the cursor failed, and Err
	// then says why.
	Messages() <-chan Message
	Err() error
	Stop()
}

// Retained is the history without its archive, for views that may begin after
// what was trimmed, since the last event of every aggregate is enough for them.
// Its readers share one reader of the journal for each partition.
func (h *History) Retained() Source { return retained{h} }

type retained struct{ *History }

// Read implements Source.
func (r retained) Read(ctx context.Context, partition int, after uint64) (Cursor, error) {
	return r.share(ctx, partition, after)
}

// Read implements Source: what was trimmed is read from the archive first, and
// also where a trim overtakes the reader.
func (h *History) Read(ctx context.Context, partition int, after uint64) (Cursor, error) {
	archived, err := h.trimmed(ctx, partition, after, 0)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &filledCursor{out: make(chan Message, cursorBuffer/2), cancel: cancel}
	c.running.Go(func() {
		defer close(c.out)
		if err := c.read(ctx, h, partition, after, archived); err != nil && ctx.Err() == nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
		}
	})
	return c, nil
}

// filledCursor reads the archive first, then the shared reader of the journal.
type filledCursor struct {
	out     chan Message
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	err     error
}

func (c *filledCursor) read(ctx context.Context, h *History, partition int, after, archived uint64) error {
	put := func(m Message) error { return c.put(ctx, m) }
	last := after
	if archived > 0 {
		if err := h.fromArchive(ctx, partition, after, archived, put); err != nil {
			return err
		}
		last = archived
	}
	rest, err := h.share(ctx, partition, last)
	if err != nil {
		return err
	}
	defer rest.Stop()
	for {
		select {
		case m, ok := <-rest.Messages():
			if !ok {
				return rest.Err()
			}
			if m.Revision > last+1 { // trimmed while it was being read
				if err := h.holds(ctx, partition, m.Revision-1); err != nil {
					return err
				}
				if err := h.fromArchive(ctx, partition, last, m.Revision-1, put); err != nil {
					return err
				}
			}
			last = m.Revision
			if err := c.put(ctx, m); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *filledCursor) put(ctx context.Context, m Message) error {
	select {
	case c.out <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *filledCursor) Messages() <-chan Message { return c.out }

func (c *filledCursor) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *filledCursor) Stop() {
	c.cancel()
	c.running.Wait()
}
