package retention

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// TrimJournal is a journal as Trim changes it.
type TrimJournal interface {
	history.JournalStore
	// MarkTrimmed notes that events up to cut may be gone. The mark never goes
	// back.
	MarkTrimmed(ctx context.Context, partition int, cut uint64) error
	// Purge removes the events of a stream that are before a revision; those of
	// all streams where s is empty.
	Purge(ctx context.Context, partition int, s events.Stream, before uint64) error
}

// TrimArchive is what Trim asks the archive.
type TrimArchive interface {
	history.ArchiveStore
	// Differing are the revisions of messages that the archive does not have
	// byte for byte.
	Differing(ctx context.Context, partition int, messages []history.Message) ([]uint64, error)
	// Settle returns when what Reaches has told survives a power cut.
	Settle(ctx context.Context, partition int) error
}

// Trim takes events out of the journal that are archived, the same there as
// here, older than a bound, and followed by another of their stream. What it
// leaves, each stream's last event, is all that commands need.
type Trim struct {
	Journal TrimJournal
	Archive TrimArchive
	// Revision and Time bound it: only events before both go. Zero = no bound.
	Revision uint64
	Time     time.Time
	// Folded is up to where everybody else has read a partition, and who is
	// the last.
	Folded func(ctx context.Context, partition int) (uint64, string, error)
	// Step is told now and then how many events have been looked at, or how
	// many streams have been purged.
	Step func(n int)
}

// TrimPlan is what a trim of one partition takes away.
type TrimPlan struct {
	Partition int    `json:"partition"`
	Cut       uint64 `json:"cut"` // nothing after it is touched
	Held      string `json:"held,omitempty"`
	Events    int    `json:"events"`
	Bytes     int64  `json:"bytes"`
	Streams   int    `json:"streams"` // that lose events
	Kept      int    `json:"kept"`    // events up to the cut that stay
	Purges    int    `json:"purges"`

	all  uint64 // every event before it goes
	some []trimStream
}

// trimStream is a stream of which the events before a revision go.
type trimStream struct {
	name   events.Stream
	first  uint64
	before uint64
}

// trimmed is what is known of a stream up to the cut.
type trimmed struct {
	first, last uint64
	n           int
	bytes       int64 // of all but the last
	lastBytes   int64
}

// Plan reads and compares; it changes nothing. The error names the first event
// that is not as the archive or its chain says.
func (t *Trim) Plan(ctx context.Context, partition int) (TrimPlan, error) {
	p := TrimPlan{Partition: partition}
	head, err := t.Journal.Head(ctx, partition)
	if err != nil {
		return p, err
	}
	if p.Cut, p.Held, err = t.limit(ctx, partition, head); err != nil || p.Cut == 0 {
		return p, err
	}
	streams, err := t.look(ctx, &p)
	if err != nil {
		return p, err
	}
	return p, t.weigh(ctx, &p, head, streams)
}

// limit is the last revision that may go, and who holds it there.
func (t *Trim) limit(ctx context.Context, partition int, head uint64) (cut uint64, held string, err error) {
	cut = head
	if t.Revision > 0 {
		cut = min(cut, t.Revision-1)
	}
	reaches, err := t.Archive.Reaches(ctx, partition, t.Journal.ID())
	if err != nil {
		return 0, "", err
	}
	if reaches < cut {
		cut, held = reaches, "the archive"
	}
	folded, who, err := t.Folded(ctx, partition)
	if err == nil && folded < cut {
		cut, held = folded, who
	}
	return cut, held, err
}

// compareEvery is how many events are compared with the archive at a time.
const compareEvery = 1000

// look reads the journal up to the cut, which it brings down to the bound in
// time, and compares what it reads with the archive. Events up to the mark of
// an earlier trim begin their chains: what was before them is gone.
func (t *Trim) look(ctx context.Context, p *TrimPlan) (map[events.Stream]*trimmed, error) {
	mark, _, err := t.Journal.Trimmed(ctx, p.Partition)
	if err != nil {
		return nil, err
	}
	cur, err := t.Journal.Read(ctx, p.Partition, 0)
	if err != nil {
		return nil, err
	}
	defer cur.Stop()
	l := trimLook{t: t, mark: mark, chains: history.NewChains(), streams: map[events.Stream]*trimmed{}}
	for at := uint64(0); at < p.Cut; {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return nil, fmt.Errorf("the journal's reader ended: %w", cur.Err())
			}
			if at = m.Revision; at > p.Cut {
				break
			}
			if !t.Time.IsZero() && m.Bad == nil && !m.RecordedAt.Before(t.Time) {
				p.Cut, p.Held = at-1, ""
				break
			}
			if err := l.take(ctx, m); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return l.streams, l.compare(ctx)
}

// endsPage is how many last events are read at a time.
const endsPage = 1000

// weigh says what goes of each stream. One whose last event is after the cut
// loses all up to it, any other keeps its last.
func (t *Trim) weigh(ctx context.Context, p *TrimPlan, head uint64, streams map[events.Stream]*trimmed) error {
	names := make([]events.Stream, 0, len(streams))
	for s := range streams {
		names = append(names, s)
	}
	ends := make(map[events.Stream]uint64, len(names))
	if head > p.Cut {
		for page := range slices.Chunk(names, endsPage) {
			// A copy that lags only makes a trim keep more.
			last, err := t.Journal.Ends(ctx, page, history.Bound{}, history.Fast)
			if err != nil {
				return err
			}
			for i := range last {
				ends[page[i]] = last[i].Revision
			}
		}
	}
	p.all = p.Cut + 1
	for _, name := range names {
		s := streams[name]
		before, n, bytes := s.last, s.n-1, s.bytes
		if ends[name] > p.Cut {
			before, n, bytes = p.Cut+1, s.n, s.bytes+s.lastBytes
		} else {
			p.Kept++
			p.all = min(p.all, s.last)
		}
		if n > 0 {
			p.Events, p.Bytes, p.Streams = p.Events+n, p.Bytes+bytes, p.Streams+1
			p.some = append(p.some, trimStream{name, s.first, before})
		}
	}
	// Streams that have nothing left beyond what goes of all need no purge of
	// their own. Neighbours in the journal lie in the same blocks on disk.
	p.some = slices.DeleteFunc(p.some, func(s trimStream) bool { return s.before <= p.all })
	slices.SortFunc(p.some, func(a, b trimStream) int { return cmp.Compare(a.first, b.first) })
	if p.Purges = len(p.some); p.Events > 0 {
		p.Purges++
	}
	return nil
}

// Run does what was planned; again, it goes on where it was interrupted. First
// the archive's copy is safe on disk, then readers are told to look there, then
// events go.
func (t *Trim) Run(ctx context.Context, p *TrimPlan) error {
	if p.Events == 0 {
		return nil
	}
	if err := t.Archive.Settle(ctx, p.Partition); err != nil {
		return err
	}
	reaches, err := t.Archive.Reaches(ctx, p.Partition, t.Journal.ID())
	if err != nil {
		return err
	}
	if reaches < p.Cut {
		return fmt.Errorf("%w: the archive of partition %d has gone back to %d", history.ErrNotArchived, p.Partition, reaches)
	}
	if err := t.Journal.MarkTrimmed(ctx, p.Partition, p.Cut); err != nil {
		return err
	}
	if err := t.Journal.Purge(ctx, p.Partition, "", p.all); err != nil {
		return err
	}
	t.Step(1)
	for i, s := range p.some {
		if err := t.Journal.Purge(ctx, p.Partition, s.name, s.before); err != nil {
			return fmt.Errorf("%d of %d streams of partition %d are trimmed, the same command goes on: %w", i, len(p.some), p.Partition, err)
		}
		t.Step(i + 2)
	}
	return nil
}
