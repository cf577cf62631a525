package durable

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// WaitingTasks yields the tasks that wait for a claim and those that were started since a
// time, and returns the positions of the view at which they are so, by partition. Known is
// false where the view cannot say: it follows another journal, its rows are of another
// version, or a task is quarantined; nothing is yielded then.
func (t *View) WaitingTasks(ctx context.Context, journal string, partitions int, since time.Time, yield func(*readmodel.Doc)) (positions []uint64, known bool, err error) {
	err = pgx.BeginTxFunc(ctx, t.db.Pool(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var quarantined bool
		err := tx.QueryRow(ctx, `SELECT
			(SELECT coalesce(array_agg(position ORDER BY partition), '{}') FROM agents.checkpoints WHERE view = $1 AND incarnation = $2 AND version = $3 AND partition < $4),
			EXISTS (SELECT FROM agents.dead_letters WHERE source = $5 AND subject COLLATE "C" >= 'task.' AND subject COLLATE "C" < 'task/')`,
			t.view, journal, projections.Version(t.view), partitions, source(t.view)).Scan(&positions, &quarantined)
		if known = err == nil && len(positions) == partitions && !quarantined; !known {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT task_id, state_text, revision FROM agents.tasks WHERE status = 'created'
			UNION ALL SELECT task_id, state_text, revision FROM agents.tasks WHERE started_at > $1 AND status <> 'created'`, since)
		if err != nil {
			return err
		}
		d := readmodel.Doc{Kind: readmodel.KindTask}
		var state string
		_, err = pgx.ForEachRow(rows, []any{&d.ID, &state, &d.Revision}, func() error {
			d.State = []byte(state)
			yield(&d)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("read the tasks that wait: %w", err)
	}
	return positions, known, nil
}

// stuckMost bounds how many stuck tasks are counted.
const stuckMost = 10_000

// StuckTasks counts the tasks that are started, have had no event since a time, and have
// neither a lease nor a deadline that would end them; at most 10,000.
func (t *View) StuckTasks(ctx context.Context, since time.Time) (n int, err error) {
	err = t.db.Pool().QueryRow(ctx, `SELECT count(*) FROM (
		SELECT FROM agents.tasks WHERE status = 'started' AND updated_at < $1 AND (deadline IS NULL OR deadline < $1)
			AND coalesce((state_text::json ->> 'lease_expires_at')::timestamptz < $1, true)
		LIMIT $2) stuck`, since, stuckMost).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the stuck tasks: %w", err)
	}
	return n, nil
}
