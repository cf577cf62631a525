package retention

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// trimScan reads the journal before it is trimmed.
type trimScan struct {
	t       *Trim
	mark    uint64
	chains  *history.Chains
	streams map[events.AggregateName]*trimmed
	batch   []history.Message
	seen    int
	offset  int64 // bytes of the journal's blocks before the event
}

func (l *trimScan) add(ctx context.Context, m history.Message) error {
	if err := l.checkChain(ctx, &m); err != nil {
		return err
	}
	s := l.streams[m.Name]
	if s == nil {
		s = &trimmed{first: m.Revision, block: -1}
		l.streams[m.Name] = s
	}
	l.offset += int64(len(m.Body) + len(m.Name) + messageOverhead)
	if block := l.offset / blockSize; block == s.block {
		s.search += m.Revision - s.last
	} else {
		s.block = block
	}
	s.n, s.last, s.bytes = s.n+1, m.Revision, s.bytes+s.lastBytes
	s.lastBytes = int64(len(m.Body) + len(m.Name))
	l.batch = append(l.batch, m)
	if len(l.batch) < compareEvery {
		return nil
	}
	l.seen += len(l.batch)
	l.t.Step(l.seen)
	return l.compare(ctx)
}

// checkChain verifies the event's digest chain. The previous event may have been trimmed: then the
// archive has it.
func (l *trimScan) checkChain(ctx context.Context, m *history.Message) error {
	if m.Revision <= l.mark && m.Bad == nil {
		l.chains.Begin(&m.Record)
		return nil
	}
	if l.mark > 0 && m.Bad == nil && m.Version > 1 && !l.chains.Knows(m.Name) {
		before, ok, err := l.t.Archive.LastOf(ctx, m.Partition, m.Name, m.Revision-1, time.Time{})
		if err != nil {
			return err
		}
		if ok {
			l.chains.Begin(&before)
		}
	}
	if err := l.chains.Follow(m); err != nil {
		return fmt.Errorf("nothing is trimmed: %w: see 'engine verify'", err)
	}
	return nil
}

// compare compares the collected events with the archive.
func (l *trimScan) compare(ctx context.Context) error {
	if len(l.batch) == 0 {
		return nil
	}
	wrong, err := l.t.Archive.Differing(ctx, l.batch[0].Partition, l.batch)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		return fmt.Errorf("nothing is trimmed: revision %d of partition %d (and %d others near it) differs in the archive: "+
			"see 'engine verify', which can repair the archive", wrong[0], l.batch[0].Partition, len(wrong)-1)
	}
	l.batch = l.batch[:0]
	return nil
}
