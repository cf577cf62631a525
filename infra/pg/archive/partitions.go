package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// month is the table of one month's events.
type month struct {
	table    string // in the schema agents
	from, to string // its bounds, as Postgres reads them
}

func monthOf(at time.Time) month {
	if at.Year() < 1970 {
		return month{table: "events_before_1970"}
	}
	first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	return month{table: first.Format("events_2006_01"), from: bound(first), to: bound(first.AddDate(0, 1, 0))}
}

func bound(t time.Time) string { return t.Format("2006-01-02 15:04:05+00") }

// makingMonths is the advisory lock under which tables are made, one engine
// and one partition at a time.
const makingMonths = 0x7469_6465_6d61_726b

// open makes the tables of months that are not there yet. They are made on
// their own and then attached, which unlike CREATE … PARTITION OF holds up
// neither readers nor writers of the others (PostgreSQL manual, 5.11.2.2).
func (a *Archive) open(ctx context.Context, tx pgx.Tx, months map[string]month) error {
	for _, m := range months {
		if m.from == "" || a.known(m) {
			continue
		}
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(makingMonths)); err != nil {
			return fmt.Errorf("make agents.%s: %w", m.table, err)
		}
		var there bool
		if err := tx.QueryRow(ctx, `SELECT to_regclass('agents.' || $1) IS NOT NULL`, m.table).Scan(&there); err != nil {
			return fmt.Errorf("look for agents.%s: %w", m.table, err)
		}
		if there {
			continue
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(`
			CREATE TABLE agents.%[1]s (LIKE agents.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);
			ALTER TABLE agents.events ATTACH PARTITION agents.%[1]s FOR VALUES FROM ('%[2]s') TO ('%[3]s')`,
			m.table, m.from, m.to), pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return fmt.Errorf("make agents.%s: %w", m.table, err)
		}
	}
	return nil
}

func (a *Archive) known(m month) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.months[m.table]
	return ok
}

// settled notes the tables that a transaction has seen or made. Nothing is
// known any more when a row had no table: somebody has taken one away.
func (a *Archive) settled(months map[string]month, err error) {
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

// noPartition: no partition of the relation found for the row (check_violation).
const noPartition = "23514"
