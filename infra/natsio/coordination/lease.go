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
	js  jetstream.JetStream
	kv  jetstream.KeyValue
	id  string
	log *slog.Logger
}

// LeaseBucket is the bucket of the leases.
const LeaseBucket = "TIDEMARK_LEASES"

// A holder renews its lease about three times per leaseTTL. When it dies, another
// engine takes over within leaseTTL + leaseRenewInterval.
const (
	leaseTTL           = 5 * time.Second
	leaseRenewInterval = 1500 * time.Millisecond
	// leaseSilence is how long another engine waits for a lease that neither ends nor is
	// renewed: leaseTTL goes by the server's clock, which may have been set back.
	leaseSilence = 2 * leaseTTL
)

// OpenLeases opens the bucket of leases and creates it if it does not exist.
func OpenLeases(ctx context.Context, nc *nats.Conn, log *slog.Logger) (*Leases, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	l := &Leases{js: js, id: ulid.Make().String(), log: log}
	if l.kv, err = openBucket(ctx, js, leaseConfig()); err != nil {
		return nil, fmt.Errorf("open the bucket of leases: %w", err)
	}
	return l, nil
}

func leaseConfig() jetstream.StreamConfig {
	return natsio.KVConfig(LeaseBucket, "Which engine runs which view", leaseTTL)
}

// openBucket opens a bucket of leases or locks. A bucket in memory, which older
// builds made, is made again on disk: a server that restarts loses it, and a
// cluster whose servers restart in turn may be left without its leader. Its
// holders acquire their leases again.
func openBucket(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.KeyValue, error) {
	if s, err := js.Stream(ctx, cfg.Name); err == nil && s.CachedInfo().Config.Storage == jetstream.MemoryStorage {
		if err := js.DeleteStream(ctx, cfg.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, fmt.Errorf("remove the bucket in memory: %w", err)
		}
	}
	cfg.PersistMode = jetstream.AsyncPersistMode // nothing is lost with a lease
	return natsio.OpenKV(ctx, js, cfg)
}

// Ensure makes the bucket again if it was removed. Every engine then acquires
// leases as if they had expired. It restores their time to live: without it the leases
// of an engine that has died would last for ever.
func (l *Leases) Ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTTL)
	defer cancel()
	if _, err := openBucket(ctx, l.js, leaseConfig()); err != nil {
		return err
	}
	s, err := l.js.Stream(ctx, "KV_"+LeaseBucket)
	if err != nil {
		return err
	}
	if cfg := s.CachedInfo().Config; cfg.MaxAge != leaseTTL {
		cfg.MaxAge, cfg.Duplicates = leaseTTL, min(cfg.Duplicates, leaseTTL)
		if _, err = l.js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("restore the time to live of leases: %w", err)
		}
		l.log.Warn("another program has changed the bucket of leases; its time to live is restored")
	}
	return nil
}

// ID is the holder of the leases that this engine has.
func (l *Leases) ID() string { return l.id }

// Holders are the holders of the leases that are held, by name.
func (l *Leases) Holders(ctx context.Context) (map[string]string, error) {
	keys, err := l.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the leases: %w", err)
	}
	holders := map[string]string{}
	for name := range keys.Keys() {
		entry, err := l.kv.Get(ctx, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // released since
		}
		if err != nil {
			return nil, fmt.Errorf("read the lease %s: %w", name, err)
		}
		holders[name] = string(entry.Value())
	}
	return holders, nil
}

// Hold waits for the lease of name, calls run while it holds the lease, and repeats
// this until ctx ends. The context of run ends when the lease is lost.
func (l *Leases) Hold(ctx context.Context, name string, run func(ctx context.Context)) {
	var seen sighting
	for ctx.Err() == nil {
		rev, err := l.kv.Create(ctx, name, []byte(l.id))
		if errors.Is(err, jetstream.ErrKeyExists) {
			rev, err = l.takeSilent(ctx, name, &seen)
		}
		if err != nil {
			if !errors.Is(err, jetstream.ErrKeyExists) && ctx.Err() == nil {
				l.log.Warn("acquiring a lease failed; retrying", "lease", name, "error", err)
				if natsio.StreamMissing(err) && l.Ensure(ctx) == nil {
					continue
				}
			}
			_ = wait.Sleep(ctx, leaseRenewInterval)
			continue
		}
		// gofail: var leaseAcquired struct{}
		l.log.Info("lease acquired: this engine runs the view", "lease", name)
		l.runWhileHeld(ctx, name, rev, run)
	}
}

// sighting is a lease of another engine, and since when it is the same.
type sighting struct {
	revision uint64
	since    time.Time
}

// takeSilent acquires a lease that was not renewed for leaseSilence by this engine's
// monotonic clock. Fails with ErrKeyExists while its holder renews it.
func (l *Leases) takeSilent(ctx context.Context, name string, seen *sighting) (uint64, error) {
	held, err := l.kv.Get(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, jetstream.ErrKeyExists // it has just ended: the next attempt creates it
	case err != nil:
		return 0, fmt.Errorf("read the lease %s: %w", name, err)
	case held.Revision() != seen.revision:
		*seen = sighting{held.Revision(), time.Now()}
		return 0, jetstream.ErrKeyExists
	case time.Since(seen.since) < leaseSilence:
		return 0, jetstream.ErrKeyExists
	}
	rev, err := l.kv.Update(ctx, name, []byte(l.id), held.Revision())
	if natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
		return 0, jetstream.ErrKeyExists
	}
	if err == nil {
		l.log.Warn("a lease did not end with its time to live; it is taken, as its holder is silent: was the server's clock set back?", "lease", name)
	}
	return rev, err
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
		// gofail: var leaseRenew struct{}
		// break
		next, err := l.kv.Update(leaseCtx, name, []byte(l.id), rev)
		if natsio.StreamMissing(err) && l.Ensure(leaseCtx) == nil { // the bucket was removed
			next, err = l.kv.Create(leaseCtx, name, []byte(l.id))
		}
		if err == nil {
			rev, renewed = next, time.Now()
			continue
		}
		if errors.Is(err, jetstream.ErrKeyExists) || natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) || time.Since(renewed) > leaseTTL {
			l.log.Warn("lease lost: this engine stops the view", "lease", name, "error", err)
			break
		}
	}
	cancel()
	<-done
	if ctx.Err() != nil { // release the lease, so that another engine need not wait for leaseTTL
		if err := l.release(name); err != nil {
			l.log.Debug("releasing a lease failed; it expires", "lease", name, "error", err)
		}
	}
}

// release ends a lease of this engine. Its revision is read: that of a renewal whose reply
// the stop has cut off is not known.
func (l *Leases) release(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	held, err := l.kv.Get(ctx, name)
	if err != nil || string(held.Value()) != l.id {
		return err
	}
	return l.kv.Delete(ctx, name, jetstream.LastRevision(held.Revision()))
}
