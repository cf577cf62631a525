package durable

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Swap implements rebuild.Shadow in one transaction: readers see all rows and
// positions either before or after it. The live view waits for its checkpoint.
func (s *Shadow) Swap(ctx context.Context, w rebuild.Swap) (done rebuild.Swapped, err error) {
	done.Keys = []rebuild.RowChange{}
	var lockedAt time.Time
	err = s.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, pg.NoTimeouts); err != nil {
			return err
		}
		at, err := s.lock(ctx, tx, w)
		if err != nil {
			return err
		}
		lockedAt = time.Now()
		// gofail: var swapLocked struct{}
		// return context.DeadlineExceeded
		touched, err := w.CatchUp(ctx, at, func(ctx context.Context, p int, from, to uint64, c projections.Changes) error {
			return pgx.BeginFunc(ctx, tx, func(step pgx.Tx) error { // a savepoint: a rejected batch is retried in parts
				return s.apply(ctx, step, p, from, to, c)
			})
		})
		if err != nil {
			return err
		}
		if w.CompareAll {
			err = s.candidates(ctx, tx)
		} else {
			err = insertKeys(ctx, tx, "candidates", touched)
		}
		if err != nil {
			return err
		}
		if err := s.deleteExcluded(ctx, tx); err != nil {
			return err
		}
		if err := s.findDifferences(ctx, tx, w, at, &done); err != nil {
			return err
		}
		if err := s.report(ctx, tx, &done); err != nil {
			return err
		}
		for i := range shadowTables {
			change, err := s.merge(ctx, tx, &shadowTables[i])
			if err != nil {
				return err
			}
			done.Rows += change.Updated + change.Inserted + change.Deleted
			done.Tables = append(done.Tables, change)
		}
		done.Position = at
		// gofail: var swapMerged struct{}
		// return context.DeadlineExceeded
		return s.moveCheckpoints(ctx, tx, w)
	})
	done.Held = time.Since(lockedAt).Seconds()
	return done, err
}

// lock locks the checkpoints of the live view and of the shadow. It returns the
// positions that both will have after the swap. Fails with errReplaced when
// another run has replaced the shadow.
func (s *Shadow) lock(ctx context.Context, tx pgx.Tx, w rebuild.Swap) ([]uint64, error) {
	_, err := tx.Exec(ctx, `
		INSERT INTO agents.checkpoints (view, partition, position, incarnation, version)
		SELECT $1, p, 0, $2, $4 FROM generate_series(0, $3::int - 1) AS p ON CONFLICT DO NOTHING`,
		s.view, w.Journal, s.partitions, w.Version)
	if err != nil {
		return nil, fmt.Errorf("create the checkpoints: %w", err)
	}
	at, journal, err := s.positions(ctx, tx, "FOR UPDATE")
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT position FROM agents_next.checkpoints WHERE view = $1 ORDER BY partition FOR UPDATE`, s.fold.view)
	if err != nil {
		return nil, err
	}
	own, err := pgx.CollectRows(rows, pgx.RowTo[uint64])
	if pg.HasSQLState(err, "42P01") || err == nil && !slices.Equal(own, w.At) {
		return nil, errReplaced
	}
	if err != nil {
		return nil, err
	}
	if s.live = nil; journal == w.Journal && !s.accept {
		s.live = slices.Clone(at)
	}
	for p := range at {
		if journal != w.Journal || s.accept || at[p] < w.At[p] {
			at[p] = w.At[p]
		}
	}
	return at, nil
}

// findDifferences records the candidates that still differ, each with the revision to
// replace. It skips rows that are newer than the view but not newer than the
// journal: a flush command wrote them, and the view will fold their events.
func (s *Shadow) findDifferences(ctx context.Context, tx pgx.Tx, w rebuild.Swap, at []uint64, done *rebuild.Swapped) error {
	for i := range shadowTables {
		t := &shadowTables[i]
		_, err := tx.Exec(ctx, fmt.Sprintf(`
			INSERT INTO agents_next.differs SELECT c.kind, c.k1, c.k2, c.k3, l.revision, n.revision
			FROM agents_next.candidates c LEFT JOIN agents.%[1]s l ON %[2]s LEFT JOIN agents_next.%[1]s n ON %[3]s
			WHERE c.kind = $1 AND ROW(l.*) IS DISTINCT FROM ROW(n.*)`, t.name, t.match("l", "c"), t.match("n", "c")), t.kind)
		if err != nil {
			return fmt.Errorf("compare %s: %w", s.db.Table(t.name), err)
		}
	}
	if _, err := tx.Exec(ctx, `ANALYZE agents_next.differs`); err != nil || s.accept {
		return err
	}
	rows, err := tx.Query(ctx, `SELECT k1, k2, seen FROM agents_next.differs WHERE kind = $1 AND seen > $2`,
		readmodel.KindEntry, slices.Min(at))
	if err != nil {
		return err
	}
	type row struct {
		Agent, Key string
		Revision   uint64
	}
	newer, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return err
	}
	heads := map[int]uint64{} // by partition, each requested once
	var agents, keys []string
	for _, r := range newer {
		p := events.Partition(r.Agent, s.partitions)
		if r.Revision <= at[p] {
			continue
		}
		if _, asked := heads[p]; !asked {
			if heads[p], err = w.Head(ctx, p); err != nil {
				return err
			}
		}
		if r.Revision <= heads[p] {
			agents, keys = append(agents, r.Agent), append(keys, r.Key)
		}
	}
	done.Ahead += len(agents)
	_, err = tx.Exec(ctx, `DELETE FROM agents_next.differs d USING unnest($2::text[], $3::text[]) AS b (id, key)
		WHERE d.kind = $1 AND d.k1 = b.id AND d.k2 = b.key`, readmodel.KindEntry, agents, keys)
	return err
}

// reportLimit is the number of rows that a report names.
const reportLimit = 20

func (s *Shadow) report(ctx context.Context, tx pgx.Tx, done *rebuild.Swapped) error {
	rows, err := tx.Query(ctx, `SELECT kind, k1, k2, seen, wanted FROM agents_next.differs ORDER BY kind, k1, k2, k3 LIMIT $1`, reportLimit)
	if err != nil {
		return err
	}
	var kind, id, key string
	var seen, wanted *uint64
	_, err = pgx.ForEachRow(rows, []any{&kind, &id, &key, &seen, &wanted}, func() error {
		name := id
		if key != "" {
			name += "." + key
		}
		if kind != readmodel.KindEntry {
			name = kind + " " + name
		}
		c := rebuild.RowChange{Key: name}
		switch {
		case seen == nil:
			c.What = fmt.Sprintf("was missing; the journal has revision %d", *wanted)
		case wanted == nil:
			c.What = fmt.Sprintf("had revision %d; not in the journal", *seen)
		default:
			c.What = fmt.Sprintf("had revision %d and differed from revision %d in the journal", *seen, *wanted)
		}
		done.Keys = append(done.Keys, c)
		return nil
	})
	return err
}

// merge makes the differing rows of a live table equal to the shadow's. It leaves
// rows unchanged that were written after the comparison.
func (s *Shadow) merge(ctx context.Context, tx pgx.Tx, t *shadowTable) (rebuild.TableChange, error) {
	change := rebuild.TableChange{Kind: t.kind}
	var any bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM agents_next.differs WHERE kind = $1)`, t.kind).Scan(&any); err != nil || !any {
		return change, err
	}
	var columns []string
	err := tx.QueryRow(ctx, `SELECT array_agg(quote_ident(attname) ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`, s.db.Table(t.name)).Scan(&columns)
	if err != nil {
		return change, fmt.Errorf("read the columns of %s: %w", s.db.Table(t.name), err)
	}
	list, of := strings.Join(columns, ", "), "n."+strings.Join(columns, ", n.")
	for _, step := range []struct {
		count *int
		sql   string
	}{
		{nil, `SELECT FROM agents.%[1]s l JOIN agents_next.differs d ON %[2]s WHERE d.kind = $1 ORDER BY d.k1, d.k2, d.k3 FOR UPDATE OF l`},
		{&change.Deleted, `DELETE FROM agents.%[1]s l USING agents_next.differs d
			WHERE d.kind = $1 AND %[2]s AND l.revision = d.seen AND d.wanted IS NULL`},
		{&change.Updated, `UPDATE agents.%[1]s l SET (%[4]s) = ROW(%[5]s)
			FROM agents_next.differs d JOIN agents_next.%[1]s n ON %[3]s
			WHERE d.kind = $1 AND %[2]s AND l.revision = d.seen`},
		{&change.Inserted, `INSERT INTO agents.%[1]s (%[4]s) SELECT %[5]s
			FROM agents_next.differs d JOIN agents_next.%[1]s n ON %[3]s
			WHERE d.kind = $1 AND d.seen IS NULL ORDER BY d.k1, d.k2, d.k3 ON CONFLICT DO NOTHING`},
	} {
		tag, err := tx.Exec(ctx, fmt.Sprintf(step.sql, t.name, t.match("l", "d"), t.match("n", "d"), list, of), t.kind)
		if err != nil {
			return change, fmt.Errorf("merge the shadow into %s: %w", s.db.Table(t.name), err)
		}
		if step.count != nil {
			*step.count = int(tag.RowsAffected())
		}
	}
	return change, nil
}

// moveCheckpoints copies the shadow's quarantine and checkpoints to the live view.
func (s *Shadow) moveCheckpoints(ctx context.Context, tx pgx.Tx, w rebuild.Swap) error {
	if err := s.swapQuarantine(ctx, tx); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		UPDATE agents.checkpoints l SET position = n.position, digest = n.digest, incarnation = $3, version = $4, updated_at = now(),
			notified = CASE WHEN $5 THEN n.position ELSE l.notified END
		FROM agents_next.checkpoints n
		WHERE l.view = $1 AND n.view = $2 AND l.partition = n.partition`, s.view, s.fold.view, w.Journal, w.Version, s.accept)
	if err == nil && s.accept { // another journal may have had more partitions; notifications begin at the positions set above
		_, err = tx.Exec(ctx, `DELETE FROM agents.checkpoints WHERE view = $1 AND partition >= $2 OR view = $3`, s.view, s.partitions, Notifications)
	}
	if err != nil {
		return fmt.Errorf("move the checkpoints: %w", err)
	}
	return nil
}
