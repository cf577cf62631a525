package coordination

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// ErrLocked means that another process holds the lock.
var ErrLocked = errors.New("already running in another process")

// A holder renews its lock six times per lockTimeout. A lock that is not renewed
// for lockTimeout is free.
const (
	lockRenewInterval = 200 * time.Millisecond
	lockTimeout       = 1200 * time.Millisecond
)

// LockBucket is the bucket of the locks.
const LockBucket = "TIDEMARK_REBUILDS"

// holder describes the process that holds a lock.
type holder struct {
	Run   string    `json:"run"` // unique per holder
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// WithLock calls run while it holds the lock name. It fails with ErrLocked if
// another live process holds the lock, or takes it because this process could not
// renew it; in that case the context of run ends.
func WithLock(ctx context.Context, nc *nats.Conn, name string, run func(ctx context.Context) error) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	kv, err := openBucket(ctx, js, natsio.KVConfig(LockBucket, "Which process rebuilds which view", 10*time.Second))
	if err != nil {
		return fmt.Errorf("open the bucket of locks: %w", err)
	}
	self := holder{Run: ulid.Make().String(), PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second)}
	self.Host, _ = os.Hostname() // for messages only
	body, err := json.Marshal(self)
	if err != nil {
		return err
	}
	rev, err := acquire(ctx, kv, name, body)
	if err != nil {
		return err
	}
	lockCtx, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { rev = renew(lockCtx, cancel, kv, name, body, rev) })
	err = run(lockCtx)
	cause := context.Cause(lockCtx)
	cancel(nil)
	renewing.Wait()
	release, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer done()
	_ = kv.Delete(release, name, jetstream.LastRevision(rev)) // on failure the lock expires
	if err != nil && errors.Is(cause, ErrLocked) {
		return cause
	}
	return err
}

// acquire acquires a lock that is free, or whose holder does not renew it within
// lockTimeout. It returns the revision of the entry.
func acquire(ctx context.Context, kv jetstream.KeyValue, name string, body []byte) (uint64, error) {
	rev, err := kv.Create(ctx, name, body)
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return rev, err
	}
	found, err := kv.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return kv.Create(ctx, name, body)
	}
	if err != nil {
		return 0, err
	}
	_ = wait.Sleep(ctx, lockTimeout)
	if rev, err = kv.Update(ctx, name, body, found.Revision()); err == nil || ctx.Err() != nil {
		return rev, err
	}
	if natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
		var h holder
		_ = json.Unmarshal(found.Value(), &h) // for the message only
		return 0, fmt.Errorf("%w: process %d on %s since %s", ErrLocked, h.PID, h.Host, h.Since.Format(time.RFC3339))
	}
	return 0, err
}

// renew renews the lock until ctx ends and returns its last revision. It calls
// cancel if another process took the lock.
func renew(ctx context.Context, cancel context.CancelCauseFunc, kv jetstream.KeyValue, name string, body []byte, rev uint64) uint64 {
	for {
		_ = wait.Sleep(ctx, lockRenewInterval)
		if ctx.Err() != nil {
			return rev
		}
		next, err := kv.Update(ctx, name, body, rev)
		if natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
			next, err = reacquire(ctx, kv, name, body)
		}
		switch {
		case err == nil:
			rev = next
		case errors.Is(err, ErrLocked):
			cancel(ErrLocked)
			return rev
		}
	}
}

// reacquire recovers from a failed renewal: a renewal was stored but its ack was
// lost, or the lock expired and is free. It fails with ErrLocked if another process
// holds the lock; after any other error the holder is unknown.
func reacquire(ctx context.Context, kv jetstream.KeyValue, name string, body []byte) (uint64, error) {
	found, err := kv.Get(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return kv.Create(ctx, name, body)
	case err != nil:
		return 0, err
	case !bytes.Equal(found.Value(), body):
		return 0, ErrLocked
	}
	return found.Revision(), nil
}
