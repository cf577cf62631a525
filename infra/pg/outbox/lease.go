package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg"
)

// A lease that is not renewed for leaseTTL is free: an engine whose process is
// frozen keeps its connections and their advisory locks, but not its lease.
const (
	leaseTTL           = 5 * time.Second
	leaseRenewInterval = 1500 * time.Millisecond
	leaseName          = "outbox"

	// relayLock is the key of the advisory lock that earlier builds take before
	// they relay. This build takes it shared: engines of both builds may run
	// beside each other, and those of one build only relay.
	relayLock = 0x7469646d // "tidm"
)

// takeLease takes a lease that has expired, and one that ends later than any can: the
// clock of the database was set back since, and its holder may be gone.
const takeLease = `
	INSERT INTO agents.leases AS l (name, holder, expires_at) VALUES ($1, $2, clock_timestamp() + $3::interval)
	ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
		WHERE l.holder = excluded.holder OR l.expires_at < clock_timestamp() OR l.expires_at > clock_timestamp() + 2 * $3::interval
	RETURNING true`

// lease is this engine's lease of the outbox. Its connection serves nothing else.
type lease struct {
	conn   *pg.Conn
	db     *pg.DB
	holder string
}

// takeLease returns nil while another engine relays.
func (o *Outbox) takeLease(ctx context.Context) (_ *lease, err error) {
	conn, err := o.DB.Pool().Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	l := &lease{conn, o.DB, o.holder}
	var held bool
	if err = conn.QueryRow(ctx, `SELECT CASE WHEN pg_try_advisory_lock_shared($1) THEN true ELSE `+pg.LockedByOther+` END`, o.DB.LockKey(relayLock)).Scan(&held); err == nil && held {
		held, err = l.renew(ctx)
	}
	if err != nil || !held {
		l.release()
		l = nil
	}
	if err != nil {
		err = fmt.Errorf("take the lease of the outbox: %w", err)
	}
	return l, err
}

// renew reports whether this engine holds the lease for another leaseTTL.
func (l *lease) renew(ctx context.Context) (bool, error) {
	// gofail: var outboxLease struct{}
	// return false, context.DeadlineExceeded
	ctx, cancel := context.WithTimeout(ctx, leaseTTL/2)
	defer cancel()
	got, err := l.conn.Exec(ctx, takeLease, leaseName, l.holder, leaseTTL)
	return err == nil && got.RowsAffected() == 1, err
}

// keep renews the lease until ctx ends, and calls lost when it may belong to
// another engine.
func (l *lease) keep(ctx context.Context, lost context.CancelCauseFunc) {
	tick := time.NewTicker(leaseRenewInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if held, err := l.renew(ctx); !held && ctx.Err() == nil {
			lost(fmt.Errorf("the lease of the outbox is lost: %w", orTaken(err)))
			return
		}
	}
}

// release ends the lease, so that another engine need not wait for it, and closes
// the connection, which ends its advisory lock.
func (l *lease) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn := l.conn.Hijack()
	_, _ = conn.Exec(ctx, l.db.In(`DELETE FROM agents.leases WHERE name = $1 AND holder = $2`), leaseName, l.holder) // or it expires
	_ = conn.Close(ctx)
}
