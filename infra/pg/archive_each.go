package pg

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections"
)

// A page of Each ends at the first of these, so that neither a statement takes
// long nor a page much memory.
const (
	eachRows  = 2000
	eachBytes = 8 << 20
)

// Each implements projections.Archive. The next page is on its way while one is
// yielded; no connection is held meanwhile.
func (a *Archive) Each(ctx context.Context, partition int, after, upTo uint64, yield func(projections.Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan eachPage, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.fetch(ctx, partition, after, min(upTo, math.MaxInt64), pages)
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
	messages []projections.Message
	err      error
}

// fetch sends pages until all is read, and closes.
func (a *Archive) fetch(ctx context.Context, partition int, after, upTo uint64, pages chan<- eachPage) {
	defer close(pages)
	for rows := eachRows; after < upTo; {
		var p eachPage
		var cut bool
		p.messages, cut, p.err = a.page(ctx, partition, after, upTo, rows)
		select {
		case pages <- p:
		case <-ctx.Done():
			return
		}
		n := len(p.messages)
		if p.err != nil || n < rows && !cut {
			return
		}
		after = p.messages[n-1].Revision
		// Ask for no more rows than are likely to be taken: what is left of a
		// page that was cut has been sent in vain.
		if cut {
			rows = max(n, 16)
		} else {
			rows = min(2*rows, eachRows)
		}
	}
}

// page reads up to rows messages; cut is set when it ended before, at eachBytes.
func (a *Archive) page(ctx context.Context, partition int, after, upTo uint64, rows int) (page []projections.Message, cut bool, err error) {
	got, err := a.db.pool.Query(ctx, `
		SELECT revision, stream, body, raw, recorded_at, recorded_ns FROM agents.events
		WHERE partition = $1 AND revision > $2 AND revision <= $3
		ORDER BY revision LIMIT $4`, partition, int64(after), int64(upTo), rows)
	if err != nil {
		return nil, false, fmt.Errorf("read the archive: %w", err)
	}
	defer got.Close()
	page = make([]projections.Message, 0, rows)
	for size := 0; !cut && got.Next(); cut = size >= eachBytes {
		var r stored
		var at time.Time
		var nanos int16
		if err := got.Scan(&r.revision, &r.stream, &r.body, &r.raw, &at, &nanos); err != nil {
			return nil, false, fmt.Errorf("read the archive: %w", err)
		}
		m := projections.Message{Body: r.bytes()}
		if m.Record, m.Bad = r.record(partition); m.Bad != nil {
			m.Stream, m.Partition, m.Revision = events.Stream(r.stream), partition, r.revision
			m.RecordedAt = at.Add(time.Duration(nanos)).UTC()
		}
		page, size = append(page, m), size+len(m.Body)
	}
	got.Close()
	if err := got.Err(); err != nil {
		return nil, false, fmt.Errorf("read the archive: %w", err)
	}
	return page, cut, nil
}
