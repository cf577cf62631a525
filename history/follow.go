package history

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Archive is the journal as SQL keeps it: every event, for good. What has been
// trimmed from the journal is read here.
type Archive interface {
	// Reaches is up to where a partition of the journal id is archived, without
	// a gap. Fails with ErrForeignJournal when it holds another journal.
	Reaches(ctx context.Context, partition int, id string) (uint64, error)
	// Each yields a partition's events after one revision, up to another, in
	// order and each with its Body as the journal had it, until yield fails.
	Each(ctx context.Context, partition int, after, upTo uint64, yield func(Message) error) error
	// LastOf is the last event of a stream up to a revision (0 = any) and,
	// where at is not zero, recorded not later than at.
	LastOf(ctx context.Context, partition int, s events.Stream, upTo uint64, at time.Time) (events.Record, bool, error)
	// LastsOf are the same for all streams whose names begin so, by name.
	LastsOf(ctx context.Context, partition int, prefix string, upTo uint64, at time.Time) ([]events.Record, error)
	// Back are a stream's events below a revision, newest first, at most limit.
	Back(ctx context.Context, partition int, s events.Stream, below uint64, limit int) ([]events.Record, error)
	// OfCommand is the first event of a stream that a command caused.
	OfCommand(ctx context.Context, partition int, s events.Stream, commandID string) (events.Record, bool, error)
}

// Trimmable is a journal from whose beginning events may have been taken, once
// they were archived.
type Trimmable interface {
	Source
	// Trimmed is the revision up to which a partition may lack events; 0 = it
	// is whole. Each aggregate's last event is always there.
	Trimmed(ctx context.Context, partition int) (uint64, error)
}

// Joined is the whole journal, whatever was trimmed: up to the trim mark the
// archive is read, from there the journal.
type Joined struct {
	Trimmable
	Archive Archive // nil = without SQL: only an untrimmed journal is whole
}

var _ Source = Joined{}

// ErrNotArchived means that a part of the journal's past is neither in the
// journal nor in the archive that was asked.
var ErrNotArchived = errors.New("projections: a part of the journal's past cannot be read")

// Read implements Source.
func (j Joined) Read(ctx context.Context, partition int, after uint64) (Cursor, error) {
	cut, err := j.Trimmed(ctx, partition)
	if err != nil {
		return nil, err
	}
	if after < cut {
		if err := j.reaches(ctx, partition, cut); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &joinedCursor{out: make(chan Message, 512), cancel: cancel}
	c.running.Go(func() {
		defer close(c.out)
		if err := c.read(ctx, j, partition, after, cut); err != nil && ctx.Err() == nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
		}
	})
	return c, nil
}

// reaches makes sure that what was trimmed is in the archive.
func (j Joined) reaches(ctx context.Context, partition int, cut uint64) error {
	if j.Archive == nil {
		return fmt.Errorf("%w: partition %d is trimmed up to %d and there is no SQL", ErrNotArchived, partition, cut)
	}
	reaches, err := j.Archive.Reaches(ctx, partition, j.ID())
	if err == nil && reaches < cut {
		err = fmt.Errorf("%w: partition %d is trimmed up to %d, the archive reaches only %d", ErrNotArchived, partition, cut, reaches)
	}
	return err
}

type joinedCursor struct {
	out     chan Message
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	err     error
}

func (c *joinedCursor) read(ctx context.Context, j Joined, partition int, after, cut uint64) error {
	last := after
	if after < cut {
		if err := c.fill(ctx, j, partition, after, cut); err != nil {
			return err
		}
		last = cut
	}
	rest, err := j.Trimmable.Read(ctx, partition, last)
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
				if err := c.fill(ctx, j, partition, last, m.Revision-1); err != nil {
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

// fill puts what the archive has after one revision, up to another.
func (c *joinedCursor) fill(ctx context.Context, j Joined, partition int, after, upTo uint64) error {
	return j.Past(ctx, partition, after, upTo, func(m Message) error { return c.put(ctx, m) })
}

// Past yields what the archive has after one revision, up to another, which
// must be everything: else ErrNotArchived.
func (j Joined) Past(ctx context.Context, partition int, after, upTo uint64, yield func(Message) error) error {
	if err := j.reaches(ctx, partition, upTo); err != nil {
		return err
	}
	last := after
	err := j.Archive.Each(ctx, partition, after, upTo, func(m Message) error {
		if m.Revision != last+1 {
			return fmt.Errorf("%w: revisions %d to %d of partition %d are not in the archive", ErrNotArchived, last+1, m.Revision-1, partition)
		}
		last = m.Revision
		return yield(m)
	})
	if err == nil && last != upTo {
		err = fmt.Errorf("%w: revisions %d to %d of partition %d are not in the archive", ErrNotArchived, last+1, upTo, partition)
	}
	return err
}

func (c *joinedCursor) put(ctx context.Context, m Message) error {
	select {
	case c.out <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *joinedCursor) Messages() <-chan Message { return c.out }

func (c *joinedCursor) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *joinedCursor) Stop() {
	c.cancel()
	c.running.Wait()
}

// Witness is a journal that can be asked for the digest of one of its events.
type DigestReader interface {
	// DigestAt is the digest of the event at a revision; found is false where
	// there is none.
	DigestAt(ctx context.Context, partition int, revision uint64) (digest string, found bool, err error)
}

// DigestAt implements Witness: what was trimmed is asked of the archive.
func (j Joined) DigestAt(ctx context.Context, partition int, revision uint64) (digest string, found bool, err error) {
	w, ok := j.Trimmable.(DigestReader)
	if !ok {
		return "", false, fmt.Errorf("this journal cannot be asked for single events")
	}
	digest, found, err = w.DigestAt(ctx, partition, revision)
	if found || err != nil || j.Archive == nil {
		return digest, found, err
	}
	err = j.Archive.Each(ctx, partition, revision-1, revision, func(m Message) error {
		digest, found = m.Digest, true
		return nil
	})
	return digest, found, err
}
