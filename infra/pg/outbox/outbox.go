package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/pg"
)

// Outbox relays the commands in agents.outbox. Only the engine that holds the
// advisory lock does so. It executes the rows of one aggregate in order of their
// ids, and different aggregates concurrently.
//
// Each command takes effect once: deduplication by command id recognises a row
// that was executed but not marked, however long ago.
type Outbox struct {
	DB     *pg.DB
	Prefix string // of subjects, ending in a dot; optional in a row's subject
	Handle func(ctx context.Context, req commands.Request, done func(commands.Receipt, error))
	Log    *slog.Logger
}

const (
	// relayLock is the key of the relay's advisory lock.
	relayLock = 0x7469646d // "tidm"
	// pollInterval is the time between reads without a notification.
	pollInterval = time.Second
	// batchRows is the number of rows that one statement reads.
	batchRows = 200
)

// Run relays until ctx ends; it finishes and marks commands in progress.
func (o *Outbox) Run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 2*time.Second
	healthy := true
	for ctx.Err() == nil {
		err := o.relay(ctx, func() {
			pause.Reset()
			if !healthy {
				o.Log.Info("outbox relay recovered")
			}
			healthy = true
		})
		if ctx.Err() != nil {
			return
		}
		wait := pollInterval // another engine relays
		if err != nil {
			if wait = pause.NextBackOff(); healthy {
				o.Log.Warn("outbox relay failed, retrying", "error", err)
			}
			healthy = false
		}
		sleep(ctx, wait)
	}
}

// relay relays while this engine holds the lock; it returns nil at once when
// another engine holds it.
func (o *Outbox) relay(ctx context.Context, healthy func()) error {
	conn, err := o.DB.Pool().Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	var leader bool
	err = conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, relayLock).Scan(&leader)
	if err == nil && !leader {
		conn.Release()
		return nil
	}
	defer release(conn)
	if err != nil {
		return fmt.Errorf("lock the outbox: %w", err)
	}
	if _, err := conn.Exec(ctx, `LISTEN agents_outbox`); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	for ctx.Err() == nil {
		if err := o.drain(ctx, conn); err != nil {
			return err
		}
		healthy()
		wctx, cancel := context.WithTimeout(ctx, pollInterval)
		_, err := conn.Conn().WaitForNotification(wctx)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("wait for a notification: %w", err)
		}
	}
	return nil
}

// release closes the connection, which ends its lock and subscription.
func release(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Hijack().Close(ctx)
}

// row is one pending command.
type row struct {
	id                           int64
	commandID                    string
	subject                      string
	body                         string
	created                      time.Time
	aggregate, aggregateID, verb string // parsed from subject; empty = not a command
}

const selectOutbox = `
	SELECT id, command_id, subject, body::text, created_at FROM agents.outbox
	WHERE done_at IS NULL AND id > $1 ORDER BY id LIMIT $2`

// drain executes the pending rows. It skips the later rows of an aggregate whose
// command must be retried and continues with the others.
func (o *Outbox) drain(ctx context.Context, conn *pgxpool.Conn) error {
	blocked := map[string]bool{}
	for after := int64(0); ctx.Err() == nil; {
		rows, err := o.readPending(ctx, conn, after)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1].id
		if err := o.mark(conn, o.execute(ctx, rows, blocked)); err != nil {
			return err
		}
	}
	return nil
}

func (o *Outbox) readPending(ctx context.Context, conn *pgxpool.Conn, after int64) ([]row, error) {
	got, err := conn.Query(ctx, selectOutbox, after, batchRows)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	rows, err := pgx.CollectRows(got, func(r pgx.CollectableRow) (w row, err error) {
		return w, r.Scan(&w.id, &w.commandID, &w.subject, &w.body, &w.created)
	})
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return rows, nil
}

const markOutbox = `
	UPDATE agents.outbox o SET attempts = attempts + 1,
		done_at = CASE WHEN b.done THEN now() END, outcome = b.outcome::jsonb
	FROM unnest($1::bigint[], $2::boolean[], $3::text[]) AS b (id, done, outcome)
	WHERE o.id = b.id AND o.done_at IS NULL`

// mark stores the outcomes of rows. It does not stop with the relay, so that
// executed commands are marked.
func (o *Outbox) mark(conn *pgxpool.Conn, results []result) error {
	if len(results) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ids, done, outcomes := make([]int64, len(results)), make([]bool, len(results)), make([]string, len(results))
	for i, r := range results {
		ids[i], done[i], outcomes[i] = r.id, r.done, r.outcome
	}
	if _, err := conn.Exec(ctx, markOutbox, ids, done, outcomes); err != nil {
		return fmt.Errorf("mark executed commands in the outbox: %w", err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
