package archive

import (
	"context"
	"fmt"
)

// selectReaches reads the checkpoint and a text that changes when rows may have
// been removed: the files of the tables and the number of rows deleted.
const selectReaches = `
	SELECT position, incarnation, (
		SELECT coalesce(string_agg(concat_ws('-', c.oid, c.relfilenode, pg_stat_get_tuples_deleted(c.oid)), ' ' ORDER BY c.oid), '')
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'agents.events'::regclass), digest
	FROM agents.checkpoints WHERE view = $1 AND partition = $2`

// checked is a part of the archive whose rows were counted.
type checked struct {
	upTo   uint64 // every revision up to here was there
	tables string // when the tables were like this
	lost   bool   // the revision after upTo was missing
}

// countRows is the number of revisions that one statement counts.
const countRows = 500_000

// withoutGap returns the revision before the first one up to position that has no
// row, else position. It counts the rows that it has not counted before, and all
// of them after rows may have been removed.
func (a *Archive) withoutGap(ctx context.Context, partition int, position uint64, tables string) (uint64, error) {
	a.mu.Lock()
	known := a.whole[partition]
	if known.tables != tables {
		clear(a.months) // a table may be gone
	}
	a.mu.Unlock()
	if known.tables != tables || position < known.upTo {
		known = checked{tables: tables}
	}
	known.lost = false
	for known.upTo < position && !known.lost {
		end := min(known.upTo+countRows, position)
		var n uint64
		err := a.db.Pool().QueryRow(ctx, `SELECT count(DISTINCT revision) FROM agents.events WHERE partition = $1 AND revision > $2 AND revision <= $3`,
			partition, int64(known.upTo), int64(end)).Scan(&n)
		if err == nil && n < end-known.upTo {
			known.lost = true
			err = a.db.Pool().QueryRow(ctx, `SELECT min(r) - 1 FROM generate_series($2::bigint, $3::bigint) AS r
				WHERE NOT EXISTS (SELECT FROM agents.events WHERE partition = $1 AND revision = r)`,
				partition, int64(known.upTo+1), int64(end)).Scan(&end)
		}
		if err != nil {
			return 0, fmt.Errorf("look for missing rows in the archive: %w", err)
		}
		known.upTo = end
	}
	a.mu.Lock()
	a.whole[partition] = known
	a.mu.Unlock()
	return min(known.upTo, position), nil
}

// gapBefore returns where the last count found a row missing before position, else
// position.
func (a *Archive) gapBefore(partition int, position uint64) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.whole[partition]; known.lost {
		return min(known.upTo, position)
	}
	return position
}
