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

// Leases spread views over engines: who holds a view's lease runs it. A lease
// is only for efficiency: two holders at once, one of them a zombie, are kept
// apart by the views' own fences.
type Leases struct {
	kv  jetstream.KeyValue
	id  string
	log *slog.Logger
}

// A holder renews three times in the life of a lease; after its death another
// takes over within leaseTTL and a little.
const (
	leaseTTL   = 5 * time.Second
	leaseRenew = 1500 * time.Millisecond
)

// OpenLeases opens the bucket of leases, making it where there is none.
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

// Hold runs run whenever this engine holds the lease, until ctx ends. run's
// context ends when the lease is lost.
func (l *Leases) Hold(ctx context.Context, name string, run func(ctx context.Context)) {
	for ctx.Err() == nil {
		rev, err := l.kv.Create(ctx, name, []byte(l.id))
		if err != nil {
			if !errors.Is(err, jetstream.ErrKeyExists) && ctx.Err() == nil {
				l.log.Warn("a lease cannot be asked for", "lease", name, "error", err)
			}
			_ = wait.Sleep(ctx, leaseRenew)
			continue
		}
		l.log.Info("this engine runs the view", "lease", name)
		l.while(ctx, name, rev, run)
	}
}

// while runs run and renews the lease beside it.
func (l *Leases) while(ctx context.Context, name string, rev uint64, run func(ctx context.Context)) {
	held, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(held)
	}()
	renewed := time.Now()
	for {
		_ = wait.Sleep(held, leaseRenew)
		if ctx.Err() != nil {
			break
		}
		next, err := l.kv.Update(held, name, []byte(l.id), rev)
		if err == nil {
			rev, renewed = next, time.Now()
			continue
		}
		if natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) || time.Since(renewed) > leaseTTL {
			l.log.Warn("this engine has lost the view", "lease", name, "error", err)
			break
		}
	}
	cancel()
	<-done
	if ctx.Err() != nil { // a clean stop hands the lease on at once
		release, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		if err := l.kv.Delete(release, name, jetstream.LastRevision(rev)); err != nil {
			l.log.Debug("a lease runs out by itself", "lease", name, "error", err)
		}
	}
}
