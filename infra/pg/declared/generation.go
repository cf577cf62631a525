// Package declared stores the rows of declared views in SQL: one table of rows for each
// view, whose columns its definition names, and for a view of groups a table of what each
// entry adds to its group.
package declared

import (
	"context"
	"fmt"
	"strings"

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
	Broken     bool     // a table of it or its positions are missing, as after a TRUNCATE
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
		return liveTable(g.View)
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

// liveTable is the quoted name of the table that readers see.
func liveTable(name string) string { return quoted(view.TablePrefix + name) }

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
		if err := s.db.Lock(ctx, tx, "declared.registry", registryLock); err != nil {
			return err
		}
		return f(tx)
	})
}

const selectGenerations = `
	SELECT id, view, live, definition, version, incarnation, heads, accept,
		to_regclass('agents.' || quote_ident('view_' || view || CASE WHEN live THEN '' ELSE '$' || id END)) IS NULL
			OR definition::jsonb ? 'group' AND to_regclass('agents.' || quote_ident('view_' || view || '$' || id || 'e')) IS NULL
			OR NOT EXISTS (SELECT FROM agents.checkpoints c WHERE c.view = 'view.' || g.view || CASE WHEN live THEN '' ELSE '.next' END)
	FROM agents.declared_generations AS g`

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
	version := declared.Version(d.From)
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
			VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`, d.Name, string(d.Canonical()), version, journal, signed, accept).Scan(&g.ID)
		if err != nil {
			return err
		}
		// Tables of the same name are of a registry that was lost.
		if _, err := tx.Exec(ctx, `DROP TABLE IF EXISTS `+g.table()+`, `+g.entries()+`;`+newLayout(&g).ddl(), pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO agents.checkpoints (view, partition, position, incarnation, version)
			SELECT $1, generate_series(0, $2 - 1), 0, $3, $4`, g.Checkpoint(), len(heads), journal, version)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the tables of view %s: %w", d.Name, err)
	}
	return nil
}

// Watch makes the triggers of tables that an earlier build has made.
func (s *Store) Watch(ctx context.Context) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		gs, err := readGenerations(ctx, tx, ` ORDER BY id`)
		if err != nil {
			return err
		}
		for i := range gs {
			l := newLayout(&gs[i])
			for _, table := range []string{gs[i].table(), gs[i].entries()} {
				var lacks bool
				if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass($1) AND tgname = $2)`,
					s.db.In(table), truncated).Scan(&lacks); err != nil {
					return err
				}
				if !lacks {
					continue
				}
				if _, err := tx.Exec(ctx, strings.TrimPrefix(l.watched(table), ";"), pgx.QueryExecModeSimpleProtocol); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make the triggers of declared views: %w", err)
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

// Positions are those of a generation, by partition.
func (s *Store) Positions(ctx context.Context, g *Generation) ([]uint64, error) {
	return positions(ctx, s.db.Pool(), g.Checkpoint(), "")
}
