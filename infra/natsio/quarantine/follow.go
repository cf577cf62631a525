package quarantine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/internal/wait"
)

// lookAgain is how long a silent watch is believed.
const lookAgain = 5 * time.Second

// Follow keeps Known level with the bucket until ctx ends. A watch is a hint: it
// is begun anew when it ends, or when the bucket has more than it told.
func (q *Store) Follow(ctx context.Context) {
	for ctx.Err() == nil {
		if err := q.follow(ctx); err != nil && ctx.Err() == nil {
			q.log.Debug("the quarantine is watched anew", "error", err)
			_ = wait.Sleep(ctx, time.Second)
		}
	}
}

func (q *Store) follow(ctx context.Context) error {
	w, err := q.kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }() // ends with the watch; nothing to add
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	told := uint64(0)
	for {
		select {
		case e, open := <-w.Updates():
			if !open {
				return errors.New("the watch ended")
			}
			if e == nil {
				continue
			}
			told = e.Revision()
			rec := record{seq: told}
			if e.Operation() == jetstream.KeyValuePut {
				rec.body = e.Value()
			}
			q.learn(e.Key(), rec)
		case <-look.C:
			s, err := q.js.Stream(ctx, "KV_"+QuarantineBucket)
			if err != nil {
				return err
			}
			if last := s.CachedInfo().State.LastSeq; last > told {
				return fmt.Errorf("the bucket is at %d", last)
			}
		case <-ctx.Done():
			return nil
		}
	}
}
