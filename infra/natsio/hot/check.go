package hot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// bucketState is what shows whether a bucket has lost rows.
type bucketState struct {
	created  time.Time
	lastSeq  uint64
	lastTime time.Time
	subjects uint64
}

func stateOf(info *jetstream.StreamInfo) bucketState {
	return bucketState{info.Created, info.State.LastSeq, info.State.LastTime, info.State.NumSubjects}
}

// errLost means that a bucket has lost rows that the view has put.
var errLost = errors.New("the bucket has lost rows; the view is folded again")

// Check implements projections.Checker: a bucket that was removed, made again,
// restored from an older copy, purged or full has lost rows. A Load then ignores the
// position in the bucket, which later puts may have brought.
func (t *Hot) Check(ctx context.Context, partition int) error {
	for _, b := range t.buckets() {
		info, err := b.stream.Info(ctx)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("bucket %s: %w", b.name, errLost)
		}
		if err != nil {
			return fmt.Errorf("read the state of bucket %s: %w", b.name, err)
		}
		t.mu.Lock()
		t.see(b, info)
		if b.full.over(info) {
			t.losses[b]++
			b.log.Info("the bucket has room again; the rows that it lacks are put", "bucket", b.name)
		}
		lost := t.losses[b] != t.refolded[loadKey{b, partition}]
		t.mu.Unlock()
		if lost {
			return fmt.Errorf("bucket %s: %w", b.name, errLost)
		}
	}
	return nil
}

// lostRows reports whether rows are gone that neither lapsed nor were replaced.
func (s bucketState) lostRows(now *jetstream.StreamInfo) bool {
	if !now.Created.Equal(s.created) || now.State.LastSeq < s.lastSeq {
		return true
	}
	lapsed := now.Config.MaxAge > 0 && now.TimeStamp.Sub(s.lastTime) >= now.Config.MaxAge
	return s.subjects > 0 && now.State.FirstSeq > s.lastSeq && now.State.NumSubjects < s.subjects && !lapsed
}

// see records a bucket's state and the server's clock, and counts the bucket's losses; the caller
// holds the lock.
func (t *Hot) see(b *Bucket, info *jetstream.StreamInfo) {
	b.ahead.Store(int64(time.Until(info.TimeStamp)))
	if before, known := t.seen[b]; known && before.lostRows(info) {
		t.losses[b]++
		b.log.Warn("the bucket has lost rows; they are put again", "bucket", b.name)
	}
	t.seen[b] = stateOf(info)
}

// loadKey names a partition of the view in a bucket.
type loadKey struct {
	bucket    *Bucket
	partition int
}

// mustRefold reports whether a bucket has lost rows of a partition since its last
// Load.
func (t *Hot) mustRefold(b *Bucket, partition int, info *jetstream.StreamInfo) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.see(b, info)
	key := loadKey{b, partition}
	lost := t.losses[b] != t.refolded[key]
	t.refolded[key] = t.losses[b]
	return lost
}
