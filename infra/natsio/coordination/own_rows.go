package coordination

import (
	"context"
	"maps"
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
	views map[string]*viewStore // of which a position was heard
}

// viewStore is a view in this engine's store.
type viewStore struct {
	heard map[int]uint64 // the last position, by partition
	at    time.Time      // of the last message
	rows  []uint64       // the positions in this engine's store, by partition; missing = 0
	asked bool           // rows was read once
	short int            // comparisons in a row that found less than was heard
}

// heardFor is how long a view counts as run by another engine after its last message.
const heardFor = 6 * idleInterval

// Between two comparisons: the usual time, and the time while a view was never compared.
const (
	compareInterval = time.Second
	firstInterval   = 200 * time.Millisecond
)

// CompareRows asks this engine's store, until ctx ends, how far it has the views that others
// run; read returns the positions of each view by partition. Other engines publish a position
// after they have written its rows, so a store that has less is another one, and the view
// counts as far as it is there.
func (b *ProgressBroadcast) CompareRows(ctx context.Context, read func(context.Context) (map[string][]uint64, error)) {
	for {
		before, pause := b.own.snapshot()
		if len(before) > 0 {
			rows, err := read(ctx)
			if err == nil {
				b.own.compare(before, rows)
			} else {
				pause = compareInterval
			}
		}
		if wait.Sleep(ctx, pause) != nil {
			return
		}
	}
}

// Elsewhere returns the views that other engines run in another store than this engine's.
func (b *ProgressBroadcast) Elsewhere() (views []string) {
	b.own.mu.Lock()
	defer b.own.mu.Unlock()
	for name, v := range b.own.views {
		if v.short > 1 && time.Since(v.at) < heardFor { // a swap of rows is short once
			views = append(views, name)
		}
	}
	slices.Sort(views)
	return views
}

// limit notes a position that was heard, and returns the one that counts here; false while
// the store was not asked yet.
func (o *ownRows) limit(view string, partition int, at uint64) (uint64, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := o.views[view]
	if v == nil {
		if o.views == nil {
			o.views = map[string]*viewStore{}
		}
		v = &viewStore{heard: map[int]uint64{}}
		o.views[view] = v
	}
	v.heard[partition], v.at = at, time.Now()
	if v.short > 0 {
		at = min(at, position(v.rows, partition))
	}
	return at, v.asked
}

// snapshot returns the positions that were heard lately, by view and partition, and the pause
// after their comparison.
func (o *ownRows) snapshot() (all map[string]map[int]uint64, pause time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all, pause = make(map[string]map[int]uint64, len(o.views)), compareInterval
	if len(o.views) == 0 {
		pause = firstInterval
	}
	for name, v := range o.views {
		if time.Since(v.at) > heardFor {
			continue
		}
		all[name] = maps.Clone(v.heard)
		if !v.asked {
			pause = firstInterval
		}
	}
	return all, pause
}

// compare compares positions heard with those read afterwards.
func (o *ownRows) compare(heard map[string]map[int]uint64, rows map[string][]uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, at := range heard {
		v := o.views[name]
		v.rows, v.asked, v.short = rows[name], true, v.short+1
		if !slices.ContainsFunc(slices.Collect(maps.Keys(at)), func(p int) bool { return position(v.rows, p) < at[p] }) {
			v.short = 0
		}
	}
}

func position(rows []uint64, partition int) uint64 {
	if partition < len(rows) {
		return rows[partition]
	}
	return 0
}
