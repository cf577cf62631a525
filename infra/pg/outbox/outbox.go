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

// Outbox relays the commands that applications write into agents.outbox in
// transactions of their own. One engine at a time does: whoever holds the
// advisory lock. Rows of one aggregate are carried out in the order of their
// ids, one after the other; those of different aggregates side by side.
//
// Each takes effect once: the command id settles a row that was carried out but
// not yet marked, however long ago that was.
type Outbox struct {
	DB     *pg.DB
	Prefix string // of subjects, with its dot; a row's subject may have it or not
	Handle func(ctx context.Context, req commands.Request, done func(commands.Receipt, error))
	Log    *slog.Logger
}

const (
	// outboxLock is the advisory lock of the one relay.
	outboxLock = 0x7469646d // "tidm"
	// outboxLook is how often the relay looks without having been notified.
	outboxLook = time.Second
	// outboxBatch is how many rows are taken at a time.
	outboxBatch = 200
)

// Run relays until ctx ends; commands under way are finished and marked.
func (o *Outbox) Run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 2*time.Second
	well := true
	for ctx.Err() == nil {
		err := o.lead(ctx, func() {
			pause.Reset()
			if !well {
				o.Log.Info("the outbox is relayed again")
			}
			well = true
		})
		if ctx.Err() != nil {
			return
		}
		wait := outboxLook // somebody else relays
		if err != nil {
			if wait = pause.NextBackOff(); well {
				o.Log.Warn("the outbox waits", "error", err)
			}
			well = false
		}
		rest(ctx, wait)
	}
}

// lead relays for as long as this engine holds the lock.
func (o *Outbox) lead(ctx context.Context, well func()) error {
	conn, err := o.DB.Pool().Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	var mine bool
	err = conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, outboxLock).Scan(&mine)
	if err == nil && !mine {
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
		if err := o.round(ctx, conn); err != nil {
			return err
		}
		well()
		wctx, cancel := context.WithTimeout(ctx, outboxLook)
		_, err := conn.Conn().WaitForNotification(wctx)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("wait for a notification: %w", err)
		}
	}
	return nil
}

// release gives the connection back without lock and subscription: closed, it
// has neither.
func release(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Hijack().Close(ctx)
}

// row is one command that waits.
type row struct {
	id                  int64
	commandID           string
	subject             string
	body                string
	created             time.Time
	aggregate, of, verb string // of the subject, once read
}

const selectOutbox = `
	SELECT id, command_id, subject, body::text, created_at FROM agents.outbox
	WHERE done_at IS NULL AND id > $1 ORDER BY id LIMIT $2`

// round carries out what waits. Aggregates whose command cannot be carried out
// now are left behind and do not keep others from their turn.
func (o *Outbox) round(ctx context.Context, conn *pgxpool.Conn) error {
	blocked := map[string]bool{}
	for after := int64(0); ctx.Err() == nil; {
		rows, err := o.take(ctx, conn, after)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1].id
		if err := o.mark(conn, o.carry(ctx, rows, blocked)); err != nil {
			return err
		}
	}
	return nil
}

func (o *Outbox) take(ctx context.Context, conn *pgxpool.Conn, after int64) ([]row, error) {
	got, err := conn.Query(ctx, selectOutbox, after, outboxBatch)
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

// mark notes what came of rows. It does not stop with the relay: what was
// carried out is marked.
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
		return fmt.Errorf("mark the outbox: %w", err)
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
