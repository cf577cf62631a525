package archive

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// A page of Each ends at the first of these limits, which bound the time of a
// statement and the memory of a page.
const (
	eachRows  = 2000
	eachBytes = 8 << 20
)

// Each implements history.ArchiveStore. It reads the next page while it yields
// one, and uses no connection between pages.
func (a *Archive) Each(ctx context.Context, partition int, after, upTo uint64, yield func(history.Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan eachPage, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.fetchPages(ctx, partition, after, min(upTo, math.MaxInt64), pages)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	for page := range pages {
		if page.err != nil {
			return page.err
		}
		for i := range page.messages {
			if err := yield(page.messages[i]); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

type eachPage struct {
	messages []history.Message
	reached  uint64 // messages contains every event up to this revision
	err      error
}

// fetchPages sends pages until it has read all events, and closes the channel.
func (a *Archive) fetchPages(ctx context.Context, partition int, after, upTo uint64, pages chan<- eachPage) {
	defer close(pages)
	for span := uint64(eachRows); after < upTo; {
		end := min(after+span, upTo)
		p := a.page(ctx, partition, after, end)
		if len(p.messages) == 0 && p.err == nil {
			if after, p.err = a.next(ctx, partition, end); p.err == nil && after > 0 {
				continue
			}
			if p.err == nil {
				return
			}
		}
		select {
		case pages <- p:
		case <-ctx.Done():
			return
		}
		if p.err != nil {
			return
		}
		if after = p.reached; after < end {
			span = max(uint64(len(p.messages)), 16) // rows beyond eachBytes were discarded
		} else {
			span = min(2*span, eachRows)
		}
	}
}

// next returns the revision before the first archived one after a revision; 0 =
// none.
func (a *Archive) next(ctx context.Context, partition int, after uint64) (uint64, error) {
	var first uint64
	err := a.db.Pool().QueryRow(ctx, `
		SELECT coalesce(min(revision), 1) FROM agents.events WHERE partition = $1 AND revision > $2`,
		partition, int64(after)).Scan(&first)
	if err != nil {
		return 0, fmt.Errorf("read the archive: %w", err)
	}
	return first - 1, nil
}

// page reads the events after one revision up to another, fewer when they exceed
// eachBytes. It selects a range of revisions, which every query plan reads
// efficiently, instead of a number of rows in order.
func (a *Archive) page(ctx context.Context, partition int, after, upTo uint64) eachPage {
	rows, err := a.db.Pool().Query(ctx, `
		SELECT revision, stream, body, raw, recorded_at, recorded_ns FROM agents.events
		WHERE partition = $1 AND revision > $2 AND revision <= $3 ORDER BY revision`, partition, int64(after), int64(upTo))
	if err != nil {
		return eachPage{err: fmt.Errorf("read the archive: %w", err)}
	}
	defer rows.Close()
	p := eachPage{messages: make([]history.Message, 0, upTo-after), reached: upTo}
	for size := 0; rows.Next(); {
		var r storedRow
		var at time.Time
		var nanos int16
		if err := rows.Scan(&r.revision, &r.stream, &r.body, &r.raw, &at, &nanos); err != nil {
			return eachPage{err: fmt.Errorf("read the archive: %w", err)}
		}
		m := history.Message{Body: r.bytes()}
		m.Record, m.Bad = a.record(ctx, &r, partition)
		if isClosed(m.Bad) {
			return eachPage{err: m.Bad}
		}
		if m.Bad != nil {
			m.Name, m.Partition, m.Revision = events.AggregateName(r.stream), partition, r.revision
			m.RecordedAt = at.Add(time.Duration(nanos)).UTC()
		}
		p.messages = append(p.messages, m)
		if size += len(m.Body); size >= eachBytes {
			p.reached = r.revision
			rows.Close()
		}
	}
	if err := rows.Err(); err != nil {
		return eachPage{err: fmt.Errorf("read the archive: %w", err)}
	}
	return p
}
