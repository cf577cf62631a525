package coordination

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// Leases distribute views over engines: the engine that holds the lease of a view
// runs it. A lease only avoids duplicate work. A stale holder may run beside the
// new one; the checkpoint of the view fences its writes.
type Leases struct {
	kv  jetstream.KeyValue
	id  string
	log *slog.Logger
}

// A holder renews its lease about three times per leaseTTL. When it dies, another
// engine takes over within leaseTTL + leaseRenewInterval.
const (
	leaseTTL           = 5 * time.Second
	leaseRenewInterval = 1500 * time.Millisecond
)

// OpenLeases opens the bucket of leases and creates it if it does not exist.
func OpenLeases(ctx context.Context, nc *nats.Conn, log *slog.Logger) (*Leases, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: "TIDEMARK_LEASES", Description: "Which engine runs which view",
		TTL: leaseTTL, History: 1, Storage: jetstream.MemoryStorage, Replicas: natsio.Replicas(nc, 0),
	})
	if err != nil {
		return nil, fmt.Errorf("open the bucket of leases: %w", err)
	}
	return &Leases{kv: kv, id: ulid.Make().String(), log: log}, nil
}

// Hold waits for the lease of name, calls run while it holds the lease, and repeats
// this until ctx ends. The context of run ends when the lease is lost.
func (l *Leases) Hold(ctx context.Context, name string, run func(ctx context.Context)) {
	for ctx.Err() == nil {
		rev, err := l.kv.Create(ctx, name, []byte(l.id))
		if err != nil {
			if !errors.Is(err, jetstream.ErrKeyExists) && ctx.Err() == nil {
				l.log.Warn("acquiring a lease failed; retrying", "lease", name, "error", err)
			}
			_ = wait.Sleep(ctx, leaseRenewInterval)
			continue
		}
		l.log.Info("lease acquired: this engine runs the view", "lease", name)
		l.runWhileHeld(ctx, name, rev, run)
	}
}

// runWhileHeld calls run and renews the lease until it is lost or ctx ends.
func (l *Leases) runWhileHeld(ctx context.Context, name string, rev uint64, run func(ctx context.Context)) {
	leaseCtx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(leaseCtx)
	}()
	renewed := time.Now()
	for {
		_ = wait.Sleep(leaseCtx, leaseRenewInterval)
		if ctx.Err() != nil {
			break
		}
		next, err := l.kv.Update(leaseCtx, name, []byte(l.id), rev)
		if err == nil {
			rev, renewed = next, time.Now()
			continue
		}
		if natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) || time.Since(renewed) > leaseTTL {
			l.log.Warn("lease lost: this engine stops the view", "lease", name, "error", err)
			break
		}
	}
	cancel()
	<-done
	if ctx.Err() != nil { // release the lease, so that another engine need not wait for leaseTTL
		release, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		if err := l.kv.Delete(release, name, jetstream.LastRevision(rev)); err != nil {
			l.log.Debug("releasing a lease failed; it expires", "lease", name, "error", err)
		}
	}
}
