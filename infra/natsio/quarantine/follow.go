package quarantine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/internal/wait"
)

// headCheckInterval is the interval at which Follow compares the watch with the
// bucket's last sequence.
const headCheckInterval = 5 * time.Second

// Follow keeps the answers of Cached up to date with the bucket until ctx ends. It watches the
// bucket and starts a new watch when the watch ends or has missed a change.
func (q *Store) Follow(ctx context.Context) {
	for ctx.Err() == nil {
		if err := q.follow(ctx); err != nil && ctx.Err() == nil {
			q.log.Debug("the watch of the quarantine bucket is restarted", "error", err)
			_ = wait.Sleep(ctx, time.Second)
		}
	}
}

func (q *Store) follow(ctx context.Context) error {
	w, err := q.kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	check := time.NewTicker(headCheckInterval)
	defer check.Stop()
	seen, created := uint64(0), time.Time{}
	for {
		select {
		case e, open := <-w.Updates():
			if !open {
				return errors.New("the watch ended")
			}
			if e == nil {
				continue
			}
			seen = e.Revision()
			state := keyState{seq: seen}
			if e.Operation() == jetstream.KeyValuePut {
				state.body = e.Value()
			}
			q.update(e.Key(), state)
		case <-check.C:
			s, err := q.js.Stream(ctx, "KV_"+BucketName)
			if err != nil {
				return err
			}
			at := s.CachedInfo().Created
			if created.IsZero() {
				created = at
			}
			if !at.Equal(created) {
				q.madeAgain() // the new watch gives what it has
				return errors.New("the bucket was made again")
			}
			if last := s.CachedInfo().State.LastSeq; last > seen {
				return fmt.Errorf("the watch is at sequence %d, the bucket at %d", seen, last)
			}
		case <-ctx.Done():
			return nil
		}
	}
}
