package coordination

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/internal/wait"
)

// ownRows compares the positions that other engines publish with the rows that this engine
// reads. An engine that was given another database than the one that runs a view, by mistake
// or because each has a managed one, would else answer from rows that no engine writes.
type ownRows struct {
	mu    sync.Mutex
	parts map[viewPart]*rowsOf // of which a position was heard
	held  chan struct{}        // has an element after a position was held back
}

// viewPart is a view in one partition.
type viewPart struct {
	view      string
	partition int
}

// rowsOf is a view in one partition of this engine's store.
type rowsOf struct {
	from  string    // the engine that published last
	heard uint64    // its last position
	at    time.Time // of its last message
	rows  uint64    // the position in this engine's store
	asked bool      // rows was read since from publishes; base is its first value
	base  uint64
	// follows says that rows has reached a position that from has published after base: they are
	// one store. A copy of it stands still.
	follows bool
	short   int // comparisons in a row that found less than was heard
}

// heardFor is how long a view counts as run by another engine after its last message.
const heardFor = 6 * idleInterval

// Between two comparisons: the usual time, and the time while a position is held back.
const (
	compareInterval = time.Second
	firstInterval   = 200 * time.Millisecond
)

// CompareRows asks this engine's store, until ctx ends, how far it has the views that others
// run; read returns the positions of each view by partition. Other engines publish a position
// after they have written its rows, so a store that has less is another one, and the view
// counts as far as it is there.
func (b *ProgressBroadcast) CompareRows(ctx context.Context, read func(context.Context) (map[string][]uint64, error)) {
	for wait.Sleep(ctx, firstInterval) == nil {
		if before := b.own.snapshot(); len(before) > 0 {
			if rows, err := read(ctx); err == nil {
				b.own.compare(before, rows)
			}
		}
		select {
		case <-ctx.Done():
		case <-b.own.held:
		case <-time.After(compareInterval - firstInterval):
		}
	}
}

// Elsewhere returns the views that other engines run in another store than this engine's.
func (b *ProgressBroadcast) Elsewhere() (views []string) {
	b.own.mu.Lock()
	defer b.own.mu.Unlock()
	for part, r := range b.own.parts {
		if r.short > 1 && time.Since(r.at) < heardFor { // a swap of rows is short once
			views = append(views, part.view)
		}
	}
	slices.Sort(views)
	return slices.Compact(views)
}

// limit notes a position that was heard, and returns the one that counts here; false while
// it is not known whether the store has it.
func (o *ownRows) limit(part viewPart, from string, at uint64) (uint64, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.parts[part]
	if r == nil || r.from != from {
		r = &rowsOf{from: from}
		o.parts[part] = r
	}
	r.heard, r.at = at, time.Now()
	switch {
	case r.short > 0:
		return min(at, r.rows), true
	case r.follows || r.asked && at <= r.rows:
		return at, true
	}
	select {
	case o.held <- struct{}{}:
	default:
	}
	return 0, false
}

// snapshot returns what was heard lately.
func (o *ownRows) snapshot() map[viewPart]rowsOf {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make(map[viewPart]rowsOf, len(o.parts))
	for part, r := range o.parts {
		if time.Since(r.at) < heardFor {
			all[part] = *r
		}
	}
	return all
}

// compare compares positions heard with those read afterwards.
func (o *ownRows) compare(heard map[viewPart]rowsOf, rows map[string][]uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for part, before := range heard {
		r := o.parts[part]
		if r.from != before.from {
			continue
		}
		r.rows = 0
		if positions := rows[part.view]; part.partition < len(positions) {
			r.rows = positions[part.partition]
		}
		if !r.asked {
			r.asked, r.base = true, r.rows
		}
		if r.short++; r.rows >= before.heard {
			r.short = 0
			r.follows = r.follows || before.heard > r.base
		}
	}
}
