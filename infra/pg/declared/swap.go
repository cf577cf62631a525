package declared

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/infra/pg"
)

const (
	swapWait = 3 * time.Second
	swapPoll = 5 * time.Millisecond
	// swapLag is how far the new generation may be behind the live one when a swap begins:
	// the live one stands still until it is reached.
	swapLag = 5000
)

var errBehind = errors.New("the new generation is behind")

// Swap makes a built generation the live one, and reports whether it did: not while it has
// not reached its heads and the live one.
func (s *Store) Swap(ctx context.Context, g *Generation) (swapped bool, err error) {
	if near, err := s.near(ctx, g); err != nil || !near {
		return false, err
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error { return g.swap(ctx, tx) })
	if errors.Is(err, errBehind) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put the new generation of view %s in place: %w", g.View, err)
	}
	return true, nil
}

// near reports whether a swap would not take long.
func (s *Store) near(ctx context.Context, g *Generation) (bool, error) {
	next, err := positions(ctx, s.db.Pool(), g.Checkpoint(), "")
	if err != nil || !reached(next, g.Heads) {
		return false, err
	}
	live, err := positions(ctx, s.db.Pool(), ViewPrefix+g.View, "")
	for p := range live {
		if p < len(next) && live[p] > next[p]+swapLag && !g.Accept {
			return false, nil
		}
	}
	return err == nil, err
}

func positions(ctx context.Context, q pg.Querier, view, lock string) (all []uint64, err error) {
	rows, err := q.Query(ctx, `SELECT position FROM agents.checkpoints WHERE view = $1 ORDER BY partition `+lock, view)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uint64])
}

func reached(at, wanted []uint64) bool {
	for p := range wanted {
		if p >= len(at) || at[p] < wanted[p] {
			return false
		}
	}
	return true
}

func (g *Generation) swap(ctx context.Context, tx pgx.Tx) error {
	// A reader of the live table is not waited for long: the view stands still meanwhile.
	if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '1s'`); err != nil {
		return err
	}
	olds, err := readGenerations(ctx, tx, ` WHERE view = $1 AND live`, g.View)
	if err != nil {
		return err
	}
	wanted := g.Heads
	if len(olds) > 0 && olds[0].Journal == g.Journal && !g.Accept {
		// The rows stay locked until the end: the live generation does not move on.
		if wanted, err = positions(ctx, tx, olds[0].Checkpoint(), "FOR UPDATE"); err != nil {
			return err
		}
	}
	for until := time.Now().Add(swapWait); ; time.Sleep(swapPoll) {
		at, err := positions(ctx, tx, g.Checkpoint(), "")
		if err != nil {
			return err
		}
		if reached(at, wanted) && len(at) == len(g.Heads) {
			break
		}
		if time.Now().After(until) || len(at) == 0 || ctx.Err() != nil {
			return errBehind
		}
	}
	if _, err := positions(ctx, tx, g.Checkpoint(), "FOR UPDATE"); err != nil {
		return err
	}
	var sql strings.Builder
	kv := g.Definition.In(view.KV)
	if kv {
		fmt.Fprintf(&sql, "INSERT INTO agents.declared_pending (view, key) SELECT '%s', key FROM %s ON CONFLICT (view, key) DO UPDATE SET changed = excluded.changed;\n", g.View, g.table())
	}
	for i := range olds {
		if kv && olds[i].Definition.In(view.KV) && !olds[i].Broken {
			fmt.Fprintf(&sql, "INSERT INTO agents.declared_pending (view, key) SELECT '%s', key FROM %s ON CONFLICT (view, key) DO UPDATE SET changed = excluded.changed;\n", g.View, olds[i].table())
		}
		fmt.Fprintf(&sql, "DELETE FROM agents.declared_generations WHERE id = %d;\nDROP TABLE IF EXISTS %s;\n", olds[i].ID, olds[i].entries())
	}
	live := Generation{ID: g.ID, View: g.View, Live: true}
	fmt.Fprintf(&sql, `DELETE FROM agents.checkpoints WHERE view = '%[1]s';
		UPDATE agents.checkpoints SET view = '%[1]s' WHERE view = '%[2]s';
		UPDATE agents.declared_generations SET live = true WHERE id = %[3]d;
		DROP TABLE IF EXISTS %[4]s;
		ALTER TABLE %[5]s RENAME TO %[6]s`, live.Checkpoint(), g.Checkpoint(), g.ID, live.table(), g.table(), column(view.TablePrefix+g.View))
	_, err = tx.Exec(ctx, sql.String(), pgx.QueryExecModeSimpleProtocol)
	return err
}
