package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// month is the partition of agents.events for one month.
type month struct {
	table    string // in the schema agents
	from, to string // its bounds as timestamptz literals
}

func monthOf(at time.Time) month {
	if at.Year() < 1970 {
		return month{table: "events_before_1970"}
	}
	first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	return month{table: first.Format("events_2006_01"), from: bound(first), to: bound(first.AddDate(0, 1, 0))}
}

func bound(t time.Time) string { return t.Format("2006-01-02 15:04:05+00") }

// partitionLock is the key of the lock for creating partitions.
const partitionLock = 0x7469_6465_6d61_726b

// ensurePartitions creates the missing partitions of months. It creates each as a
// separate table and attaches it, which, unlike CREATE … PARTITION OF, does not
// block readers or writers of the other partitions (PostgreSQL manual, 5.11.2.2).
func (a *Archive) ensurePartitions(ctx context.Context, tx pgx.Tx, months map[string]month) error {
	for _, m := range months {
		if m.from == "" || a.partitionKnown(m) {
			continue
		}
		if err := a.db.Lock(ctx, tx, "archive.partitions", partitionLock); err != nil {
			return fmt.Errorf("create %s: %w", a.db.Table(m.table), err)
		}
		var there bool
		if err := tx.QueryRow(ctx, `SELECT to_regclass('agents.' || $1) IS NOT NULL`, m.table).Scan(&there); err != nil {
			return fmt.Errorf("check whether %s exists: %w", a.db.Table(m.table), err)
		}
		if there {
			continue
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(`
			CREATE TABLE agents.%[1]s (LIKE agents.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);
			ALTER TABLE agents.events ATTACH PARTITION agents.%[1]s FOR VALUES FROM ('%[2]s') TO ('%[3]s')`,
			m.table, m.from, m.to), pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return fmt.Errorf("create %s: %w", a.db.Table(m.table), err)
		}
	}
	return nil
}

func (a *Archive) partitionKnown(m month) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.months[m.table]
	return ok
}

// cachePartitions remembers the partitions that a committed transaction used. It
// clears the cache when a row had no partition, because then one was dropped.
func (a *Archive) cachePartitions(months map[string]month, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var pgErr *pgconn.PgError
	switch {
	case err == nil:
		for _, m := range months {
			a.months[m.table] = struct{}{}
		}
	case errors.As(err, &pgErr) && pgErr.Code == noPartition:
		clear(a.months)
	}
}

// noPartition is the SQLSTATE check_violation, which PostgreSQL returns for a row
// without a partition.
const noPartition = "23514"
