// Package declared stores the rows of declared views in SQL: one table of rows for each
// view, whose columns its definition names, and for a view of groups a table of what each
// entry adds to its group.
package declared

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/readmodel/declared"
)

// Generation is one building of one definition.
type Generation struct {
	ID         int64
	View       string
	Live       bool // readers see it; else it is built beside the live one
	Definition view.Definition
	Version    int      // of the fold
	Journal    string   // incarnation of the journal that is folded
	Heads      []uint64 // positions that it must reach before readers see it
	Accept     bool     // its journal replaces the live generation's, whatever its position
	Broken     bool     // a table of it is missing
}

// ViewPrefix begins the names of declared views among those of all views.
const ViewPrefix = "view."

// Checkpoint is the name of the generation in agents.checkpoints.
func (g *Generation) Checkpoint() string {
	if g.Live {
		return ViewPrefix + g.View
	}
	return ViewPrefix + g.View + ".next"
}

// table is the quoted name of the table that has the generation's rows.
func (g *Generation) table() string {
	if g.Live {
		return LiveTable(g.View)
	}
	return g.building()
}

func (g *Generation) building() string {
	return quoted(fmt.Sprintf("%s%s$%d", view.TablePrefix, g.View, g.ID))
}

// entries is the quoted name of the table of what entries add to groups.
func (g *Generation) entries() string {
	return quoted(fmt.Sprintf("%s%s$%de", view.TablePrefix, g.View, g.ID))
}

// LiveTable is the quoted name of the table that readers see.
func LiveTable(name string) string { return quoted(view.TablePrefix + name) }

func quoted(table string) string { return string(pg.Live) + "." + pgx.Identifier{table}.Sanitize() }

func column(name string) string { return pgx.Identifier{name}.Sanitize() }

// Store is the registry of generations.
type Store struct{ db *pg.DB }

// NewStore returns the registry in db.
func NewStore(db *pg.DB) *Store { return &Store{db} }

// registryLock serializes changes of the registry over all engines.
const registryLock = 0x7469646576696577

// inTx runs f while no other engine changes the registry.
func (s *Store) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	return s.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(registryLock)); err != nil {
			return err
		}
		return f(tx)
	})
}

const selectGenerations = `
	SELECT id, view, live, definition, version, incarnation, heads, accept,
		to_regclass('agents.' || quote_ident('view_' || view || CASE WHEN live THEN '' ELSE '$' || id END)) IS NULL
			OR definition::jsonb ? 'group' AND to_regclass('agents.' || quote_ident('view_' || view || '$' || id || 'e')) IS NULL
	FROM agents.declared_generations`

func scanGeneration(row pgx.CollectableRow) (g Generation, err error) {
	var text string
	var heads []int64
	if err = row.Scan(&g.ID, &g.View, &g.Live, &text, &g.Version, &g.Journal, &heads, &g.Accept, &g.Broken); err != nil {
		return g, err
	}
	for _, head := range heads {
		g.Heads = append(g.Heads, uint64(head))
	}
	return g, json.Unmarshal([]byte(text), &g.Definition)
}

// All returns every generation.
func (s *Store) All(ctx context.Context) ([]Generation, error) {
	return readGenerations(ctx, s.db.Pool(), ` ORDER BY id`)
}

func readGenerations(ctx context.Context, q pg.Querier, where string, args ...any) ([]Generation, error) {
	rows, err := q.Query(ctx, selectGenerations+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read the declared views: %w", err)
	}
	all, err := pgx.CollectRows(rows, scanGeneration)
	if err != nil {
		return nil, fmt.Errorf("read the declared views: %w", err)
	}
	return all, nil
}

// Create makes the tables of a new generation of a view, in the place of one that is
// being built.
func (s *Store) Create(ctx context.Context, d view.Definition, journal string, heads []uint64, accept bool) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := dropBuilding(ctx, tx, d.Name); err != nil {
			return err
		}
		g := Generation{View: d.Name, Definition: d}
		signed := make([]int64, len(heads))
		for p, head := range heads {
			signed[p] = int64(head)
		}
		err := tx.QueryRow(ctx, `INSERT INTO agents.declared_generations (view, definition, version, incarnation, heads, accept)
			VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`, d.Name, string(d.Canonical()), declared.Version, journal, signed, accept).Scan(&g.ID)
		if err != nil {
			return err
		}
		// Tables of the same name are of a registry that was lost.
		if _, err := tx.Exec(ctx, `DROP TABLE IF EXISTS `+g.table()+`, `+g.entries()+`;`+newLayout(&g).ddl(), pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO agents.checkpoints (view, partition, position, incarnation, version)
			SELECT $1, generate_series(0, $2 - 1), 0, $3, $4`, g.Checkpoint(), len(heads), journal, declared.Version)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the tables of view %s: %w", d.Name, err)
	}
	return nil
}

// dropBuilding drops the generation of a view that is being built, if there is one.
func dropBuilding(ctx context.Context, tx pgx.Tx, name string) error {
	gs, err := readGenerations(ctx, tx, ` WHERE view = $1 AND NOT live`, name)
	if err != nil {
		return err
	}
	for i := range gs {
		if err := gs[i].drop(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// drop drops a generation.
func (g *Generation) drop(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `DELETE FROM agents.checkpoints WHERE view = $1`, g.Checkpoint()); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM agents.declared_generations WHERE id = $1`, g.ID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DROP TABLE IF EXISTS `+g.table()+`, `+g.entries())
	return err
}

// DropBuilding drops the generation of a view that is being built, if there is one.
func (s *Store) DropBuilding(ctx context.Context, name string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error { return dropBuilding(ctx, tx, name) })
	if err != nil {
		return fmt.Errorf("drop the tables that are built of view %s: %w", name, err)
	}
	return nil
}

// Remove drops all of a view.
func (s *Store) Remove(ctx context.Context, name string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		gs, err := readGenerations(ctx, tx, ` WHERE view = $1`, name)
		if err != nil {
			return err
		}
		for i := range gs {
			if err := gs[i].drop(ctx, tx); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `DELETE FROM agents.declared_pending WHERE view = $1`, name)
		return err
	})
	if err != nil {
		return fmt.Errorf("drop the tables of view %s: %w", name, err)
	}
	return nil
}

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

// Positions are those of a generation, by partition.
func (s *Store) Positions(ctx context.Context, g *Generation) ([]uint64, error) {
	return positions(ctx, s.db.Pool(), g.Checkpoint(), "")
}
