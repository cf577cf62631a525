// Package retention trims the journal: it removes events that the archive contains and commands no
// longer need. Its subpackage export writes a journal to a file and reads it back.
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

// TrimJournal is the journal with the writes that Trim needs.
type TrimJournal interface {
	history.JournalStore
	// MarkTrimmed stores that events up to cut may be missing. The mark never decreases.
	MarkTrimmed(ctx context.Context, partition int, cut uint64) error
	// Purge removes the events of a stream before a revision; of all streams when s is empty, of all
	// that a wildcard pattern matches when s is one.
	Purge(ctx context.Context, partition int, s events.AggregateName, before uint64) error
}

// TrimArchive is the archive with the checks that Trim needs.
type TrimArchive interface {
	history.ArchiveStore
	// Differing returns the revisions of messages that the archive does not contain byte for byte.
	Differing(ctx context.Context, partition int, messages []history.Message) ([]uint64, error)
	// Settle returns once everything up to Reaches survives a power loss.
	Settle(ctx context.Context, partition int) error
}

// Trim removes events from the journal that are in the archive byte for byte, older than a bound,
// and followed by another event of their stream. The last event of each stream stays: commands
// need only that one.
type Trim struct {
	Journal TrimJournal
	Archive TrimArchive
	// Revision and Time are upper bounds: only events before both are removed. Zero = no bound.
	Revision uint64
	Time     time.Time
	// Folded returns the revision up to which all other readers have read a partition, and the
	// name of the slowest reader.
	Folded func(ctx context.Context, partition int) (uint64, string, error)
	// PurgeCost is the time of one purge without its search, which the server's disk decides.
	PurgeCost time.Duration
	// Measured is called once in a run with the time that it takes in all, in seconds, known from
	// the first purges; nil = not.
	Measured func(seconds float64)
	// Step is called from time to time with the number of events scanned, or of streams purged.
	Step func(n int)
}

// TrimPlan is what a trim of one partition removes.
type TrimPlan struct {
	Partition int    `json:"partition"`
	Cut       uint64 `json:"cut"`            // nothing after it is removed
	LimitedBy string `json:"held,omitempty"` // what limits the cut
	Events    int    `json:"events"`
	Bytes     int64  `json:"bytes"`
	Streams   int    `json:"streams"` // that lose events
	Kept      int    `json:"kept"`    // events up to the cut that stay
	Purges    int    `json:"purges"`
	// Seconds is the estimated time of the removal.
	Seconds float64 `json:"seconds"`

	before  uint64 // every event before it is removed
	streams []trimStream
}

// trimStream is a stream, or a pattern of streams, whose events before a revision are removed.
type trimStream struct {
	name   events.AggregateName
	first  uint64
	before uint64
	search float64 // messages that the server looks at
}

// trimmed describes the events of a stream up to the cut.
type trimmed struct {
	first, last uint64
	n           int
	bytes       int64 // of all but the last
	lastBytes   int64
	search      uint64 // messages between its events in the same blocks
	block       int64  // of the last event
}

// Plan reads and compares; it changes nothing. The error names the first event that differs from
// the archive or breaks its chain.
func (t *Trim) Plan(ctx context.Context, partition int) (TrimPlan, error) {
	p := TrimPlan{Partition: partition}
	head, err := t.Journal.Head(ctx, partition)
	if err != nil {
		return p, err
	}
	if p.Cut, p.LimitedBy, err = t.limit(ctx, partition, head); err != nil || p.Cut == 0 {
		return p, err
	}
	streams, err := t.scan(ctx, &p)
	if err != nil {
		return p, err
	}
	err = t.selectStreams(ctx, &p, head, streams)
	if p.Events > 0 {
		t.estimate(&p)
	}
	return p, err
}

// limit returns the last revision that may be removed, and what limits it.
func (t *Trim) limit(ctx context.Context, partition int, head uint64) (cut uint64, limitedBy string, err error) {
	cut = head
	if t.Revision > 0 {
		cut = min(cut, t.Revision-1)
	}
	reaches, err := t.Archive.Reaches(ctx, partition, t.Journal.ID())
	if err != nil {
		return 0, "", err
	}
	if reaches < cut {
		cut, limitedBy = reaches, "the archive"
	}
	folded, who, err := t.Folded(ctx, partition)
	if err == nil && folded < cut {
		cut, limitedBy = folded, who
	}
	return cut, limitedBy, err
}

// compareEvery is the number of events that are compared with the archive at a time.
const compareEvery = 1000

// scan reads the journal up to the cut, which it lowers to the time bound, and compares the events
// with the archive. Events up to the mark of an earlier trim start their chains: their
// predecessors are gone.
func (t *Trim) scan(ctx context.Context, p *TrimPlan) (map[events.AggregateName]*trimmed, error) {
	mark, _, err := t.Journal.Trimmed(ctx, p.Partition)
	if err != nil {
		return nil, err
	}
	cur, err := t.Journal.Read(ctx, p.Partition, 0)
	if err != nil {
		return nil, err
	}
	defer cur.Stop()
	l := trimScan{t: t, mark: mark, chains: history.NewChains(), streams: map[events.AggregateName]*trimmed{}}
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
				p.Cut, p.LimitedBy = at-1, ""
				break
			}
			if err := l.add(ctx, m); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return l.streams, l.compare(ctx)
}

// endsPage is the number of last events that are read at a time.
const endsPage = 1000

// selectStreams determines which events of each stream are removed. A stream whose last event is
// after the cut loses all events up to the cut; any other keeps its last event.
func (t *Trim) selectStreams(ctx context.Context, p *TrimPlan, head uint64, streams map[events.AggregateName]*trimmed) error {
	names := make([]events.AggregateName, 0, len(streams))
	for s := range streams {
		names = append(names, s)
	}
	ends := make(map[events.AggregateName]uint64, len(names))
	if head > p.Cut {
		for page := range slices.Chunk(names, endsPage) {
			// A replica that lags only makes a trim keep more.
			last, err := t.Journal.Ends(ctx, page, history.Bound{}, history.Fast)
			if err != nil {
				return err
			}
			for i := range last {
				ends[page[i]] = last[i].Revision
			}
		}
	}
	p.before = p.Cut + 1
	keepFrom := map[events.AggregateName]uint64{} // by pattern of an agent's streams: none of them loses this event
	for _, name := range names {
		s := streams[name]
		before, n, bytes := s.last, s.n-1, s.bytes
		if ends[name] > p.Cut {
			before, n, bytes = p.Cut+1, s.n, s.bytes+s.lastBytes
		} else {
			p.Kept++
			p.before = min(p.before, s.last)
		}
		if group := groupOf(name); group != "" && (keepFrom[group] == 0 || before < keepFrom[group]) {
			keepFrom[group] = before
		}
		if n > 0 {
			p.Events, p.Bytes, p.Streams = p.Events+n, p.Bytes+bytes, p.Streams+1
			p.streams = append(p.streams, trimStream{name, s.first, before, float64(s.search)})
		}
	}
	// Streams that lose nothing beyond the common purge need no purge of
	// their own. Neighbouring events lie in the same blocks on disk.
	p.streams = slices.DeleteFunc(p.streams, func(s trimStream) bool { return s.before <= p.before })
	p.streams = inGroups(p.streams, keepFrom)
	slices.SortStableFunc(p.streams, func(a, b trimStream) int { return cmp.Compare(a.first, b.first) })
	if p.Purges = len(p.streams); p.Events > 0 {
		p.Purges++
	}
	return nil
}

// Run executes a plan; run again, it continues after an interruption. First the archive's copy is
// made durable, then the mark sends readers to the archive, then events are removed.
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
		return fmt.Errorf("%w: the archive of partition %d now ends at revision %d", history.ErrNotArchived, p.Partition, reaches)
	}
	if err := t.Journal.MarkTrimmed(ctx, p.Partition, p.Cut); err != nil {
		return err
	}
	// gofail: var trimMarked struct{}
	// return context.DeadlineExceeded
	if err := t.Journal.Purge(ctx, p.Partition, "", p.before); err != nil {
		return err
	}
	t.Step(1)
	start := time.Now()
	for i, s := range p.streams {
		if i == measuredAfter {
			t.measured(p, p.streams[:i], time.Since(start))
		}
		if err := t.Journal.Purge(ctx, p.Partition, s.name, s.before); err != nil {
			return fmt.Errorf("%d of %d streams of partition %d are trimmed; run the same command again to continue: %w", i, len(p.streams), p.Partition, err)
		}
		t.Step(i + 2)
	}
	return nil
}
