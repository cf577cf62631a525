package hot

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// fullness knows which rows a bucket lacks because it had no room for them.
type fullness struct {
	mu     sync.Mutex
	rows   map[string]int64 // bytes of those that were refused last, by key; of maxLacking at most
	bytes  int64            // of them
	filled time.Time        // when the rows were last put again
}

const (
	// rowRoom is what a row takes beside its value, at most.
	rowRoom = 1 << 10
	// refillPause is the time between two attempts to put the rows again: each folds the view.
	refillPause = 10 * time.Second
	// maxLacking bounds the rows that are known. A bucket with room for so many is filled until
	// it refuses the others again.
	maxLacking = 10_000
)

func (f *fullness) rejected(key string, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if size == 0 || len(f.rows) >= maxLacking && f.rows[key] == 0 {
		return
	}
	if f.rows == nil {
		f.rows = map[string]int64{}
	}
	f.forget(key)
	f.rows[key] = int64(size) + rowRoom
	f.bytes += f.rows[key]
}

// putAgain forgets rows of which a later state is put: the bucket has it, or refuses it too.
func (f *fullness) putAgain(puts []put) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rows) == 0 {
		return
	}
	for i := range puts {
		f.forget(puts[i].key)
	}
}

func (f *fullness) forget(key string) {
	f.bytes -= f.rows[key]
	delete(f.rows, key)
}

// over reports, once, that a bucket has room for the rows that it lacks.
func (f *fullness) over(info *jetstream.StreamInfo) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	free := func(limit int64, used uint64, needed int64) bool {
		return limit <= 0 || limit-int64(used) >= needed //nolint:gosec // a size of files fits
	}
	cfg, s := &info.Config, &info.State
	if len(f.rows) == 0 || time.Since(f.filled) < refillPause || !free(cfg.MaxBytes, s.Bytes, f.bytes) || !free(cfg.MaxMsgs, s.Msgs, int64(len(f.rows))) {
		return false
	}
	f.rows, f.bytes, f.filled = nil, 0, time.Now()
	return true
}

func (f *fullness) lacks() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rows) > 0
}

// Full says which buckets lack rows because they had no room; empty = none. They are put
// when there is room.
func (t *Hot) Full() string {
	var all []string
	for _, b := range t.buckets() {
		if b.full.lacks() {
			all = append(all, "the bucket "+b.name+" is full: it lacks rows, which the next tier answers; raise its max_bytes")
		}
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}
