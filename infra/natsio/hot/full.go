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
	rows   int       // that were refused since the bucket was filled
	bytes  int64     // of them
	filled time.Time // when the rows were last put again
}

const (
	// rowRoom is what a row takes beside its value, at most.
	rowRoom = 1 << 10
	// refillPause is the time between two attempts to put the rows again: each folds the view.
	refillPause = 10 * time.Second
)

func (f *fullness) rejected(size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if size > 0 {
		f.rows, f.bytes = f.rows+1, f.bytes+int64(size)+rowRoom
	}
}

// over reports, once, that a bucket has room for the rows that it lacks.
func (f *fullness) over(info *jetstream.StreamInfo) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	free := func(limit int64, used uint64, needed int64) bool {
		return limit <= 0 || limit-int64(used) >= needed //nolint:gosec // a size of files fits
	}
	cfg, s := &info.Config, &info.State
	if f.rows == 0 || time.Since(f.filled) < refillPause || !free(cfg.MaxBytes, s.Bytes, f.bytes) || !free(cfg.MaxMsgs, s.Msgs, int64(f.rows)) {
		return false
	}
	f.rows, f.bytes, f.filled = 0, 0, time.Now()
	return true
}

func (f *fullness) lacks() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rows > 0
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
