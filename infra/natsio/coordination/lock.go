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

// ErrTaken means that another process does the same right now.
var ErrLocked = errors.New("natsio: another process is at it")

// A holder tells six times in aloneDead that it lives; one that is killed is in
// nobody's way for longer than that.
const (
	aloneRenew = 200 * time.Millisecond
	aloneDead  = 1200 * time.Millisecond
)

// holder says who holds a name.
type holder struct {
	Run   string    `json:"run"` // no other holder has the same
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// Alone runs run while no other process holds the name. It fails with ErrTaken
// where a living one does; run's context ends when the name is lost to another,
// which holds only while this process does not get to run.
func WithLock(ctx context.Context, nc *nats.Conn, name string, run func(ctx context.Context) error) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: "TIDEMARK_REBUILDS", Description: "Which process rebuilds which view",
		TTL: 10 * time.Second, History: 1, Storage: jetstream.MemoryStorage, Replicas: natsio.Replicas(nc, 0),
	})
	if err != nil {
		return fmt.Errorf("open the bucket of rebuilds: %w", err)
	}
	self := holder{Run: ulid.Make().String(), PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second)}
	self.Host, _ = os.Hostname() // only shown
	body, err := json.Marshal(self)
	if err != nil {
		return err
	}
	rev, err := take(ctx, kv, name, body)
	if err != nil {
		return err
	}
	held, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { rev = renew(held, cancel, kv, name, body, rev) })
	err = run(held)
	lost := context.Cause(held)
	cancel(nil)
	renewing.Wait()
	release, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer done()
	_ = kv.Delete(release, name, jetstream.LastRevision(rev)) // else it runs out by itself
	if err != nil && errors.Is(lost, ErrLocked) {
		return lost
	}
	return err
}

// take gets the name, from nobody or from a holder that does not renew it.
func take(ctx context.Context, kv jetstream.KeyValue, name string, body []byte) (uint64, error) {
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
	_ = wait.Sleep(ctx, aloneDead)
	if rev, err = kv.Update(ctx, name, body, found.Revision()); err == nil || ctx.Err() != nil {
		return rev, err
	}
	if natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
		var h holder
		_ = json.Unmarshal(found.Value(), &h) // only shown
		return 0, fmt.Errorf("%w: process %d on %s since %s", ErrLocked, h.PID, h.Host, h.Since.Format(time.RFC3339))
	}
	return 0, err
}

// renew keeps the name until ctx ends, and cancels when another took it.
func renew(ctx context.Context, cancel context.CancelCauseFunc, kv jetstream.KeyValue, name string, body []byte, rev uint64) uint64 {
	for {
		_ = wait.Sleep(ctx, aloneRenew)
		if ctx.Err() != nil {
			return rev
		}
		next, err := kv.Update(ctx, name, body, rev)
		if natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
			next, err = regain(ctx, kv, name, body)
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

// regain goes on where a renewal was stored and its answer was lost, or where
// the name ran out and nobody has taken it. Any error but ErrTaken leaves open
// whose it is.
func regain(ctx context.Context, kv jetstream.KeyValue, name string, body []byte) (uint64, error) {
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
