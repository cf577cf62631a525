package durable

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// next is where a shadow generation of the durable view is. Nothing in it is
// of use after its run, and nothing of it is logged: it is made anew each time.
const next pg.Schema = "agents_next"

// Shadow is a generation of the durable view beside the live one. A run that
// was ended leaves its tables behind; the next run drops them, and finds its
// own by a name that no other run has.
type Shadow struct {
	db         *pg.DB
	view       string
	fold       *View // under this run's name
	partitions int
	journal    string
	accept     bool
	held       map[events.Stream]letter // what could not be applied, from where on
	live       []uint64                 // where the live view was when the swap began
}

type letter struct {
	partition int
	revision  uint64
}

var _ rebuild.Shadow = (*Shadow)(nil)

// shadowTable is one of the view's tables: its kind of rows, and the key whose
// columns stand for c.k1, c.k2 and c.k3 of the tables of keys.
type shadowTable struct {
	kind, name string
	keys       []string
}

var shadowTables = []shadowTable{
	{readmodel.KindEntry, "state", []string{"agent_id", "state_key"}},
	{readmodel.KindTask, "tasks", []string{"task_id"}},
	{readmodel.KindSession, "sessions", []string{"session_id"}},
	{readmodel.KindConfig, "config", []string{"agent_id", "config_key"}},
	{readmodel.KindLifecycle, "lifecycle", []string{"agent_id"}},
	{readmodel.KindConflict, "conflicts", []string{"agent_id", "state_key", "version"}},
}

// match is the condition that the row t has the key that c names.
func (t *shadowTable) match(row, c string) string {
	var b strings.Builder
	for i, k := range t.keys {
		if i > 0 {
			b.WriteString(" AND ")
		}
		fmt.Fprintf(&b, "%s.%s = %s.k%d", row, k, c, i+1)
	}
	return b.String()
}

// key is the columns k1, k2 and k3 of a row, taken from the first of the
// expressions that is not NULL.
func (t *shadowTable) key(rows ...string) string {
	parts := []string{"''", "''", "0"}
	for i, k := range t.keys {
		var of []string
		for _, r := range rows {
			of = append(of, r+"."+k)
		}
		parts[i] = "coalesce(" + strings.Join(of, ", ") + ")"
	}
	return strings.Join(parts, ", ")
}

// NewShadow makes an empty generation for a journal, in place of what an
// earlier run has left. accept makes that journal the view's, whichever the
// view was folded from.
func NewShadow(ctx context.Context, db *pg.DB, view, journal string, partitions int, accept bool) (*Shadow, error) {
	s := &Shadow{db: db, view: view, partitions: partitions, journal: journal, accept: accept, held: map[events.Stream]letter{},
		fold: &View{db: db, view: ulid.Make().String(), schema: next}}
	err := db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DROP SCHEMA IF EXISTS agents_next CASCADE`); err != nil {
			return err
		}
		return s.create(ctx, tx, next)
	})
	if err != nil {
		return nil, fmt.Errorf("make the shadow generation: %w", err)
	}
	return s, nil
}

// create makes the tables without the indexes that only lists need: a shadow
// is never listed.
func (s *Shadow) create(ctx context.Context, tx pgx.Tx, in pg.Schema) error {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE SCHEMA %s;\n", in)
	for _, t := range shadowTables {
		fmt.Fprintf(&b, "CREATE UNLOGGED TABLE %[1]s.%[2]s (LIKE agents.%[2]s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED,"+
			" PRIMARY KEY (%[3]s)) WITH (autovacuum_enabled = off);\n", in, t.name, strings.Join(t.keys, ", "))
	}
	fmt.Fprintf(&b, `
		CREATE UNLOGGED TABLE %[1]s.checkpoints (LIKE agents.checkpoints INCLUDING DEFAULTS, PRIMARY KEY (view, partition));
		CREATE UNLOGGED TABLE %[1]s.dead_letters (source text, subject text, partition integer, revision bigint, reason text, body text,
			UNIQUE (source, partition, revision));
		CREATE UNLOGGED TABLE %[1]s.candidates (kind text, k1 text COLLATE "C", k2 text COLLATE "C", k3 bigint, PRIMARY KEY (kind, k1, k2, k3));
		CREATE UNLOGGED TABLE %[1]s.since (LIKE %[1]s.candidates, PRIMARY KEY (kind, k1, k2, k3));
		CREATE UNLOGGED TABLE %[1]s.differs (LIKE %[1]s.candidates, seen bigint, wanted bigint, PRIMARY KEY (kind, k1, k2, k3));
	`, in)
	if _, err := tx.Exec(ctx, b.String()); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, in.In(`
		INSERT INTO agents.checkpoints (view, partition, position, incarnation)
		SELECT $1, p, 0, $2 FROM generate_series(0, $3::int - 1) AS p`), s.fold.view, s.journal, s.partitions)
	return err
}

// Apply implements projections.Shadow.
func (s *Shadow) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	return s.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
			return err
		}
		return s.apply(ctx, tx, partition, from, to, c)
	})
}

func (s *Shadow) apply(ctx context.Context, tx pgx.Tx, partition int, from, to uint64, c projections.Changes) error {
	b := &pgx.Batch{}
	b.Queue(pg.NoTimeouts)
	s.fold.queueFence(b, partition, from, to, &c)
	s.fold.queueRows(b, &c)
	queueLetters(b, next, source(s.view), partition, c.Held)
	err := tx.SendBatch(ctx, b).Close()
	if errors.Is(err, projections.ErrFenced) || pg.HasSQLState(err, "42P01") { // its tables are gone
		return errReplaced
	}
	if err != nil {
		return fmt.Errorf("write %d events up to %d into the shadow: %w", len(c.Events), to, unappliable(err))
	}
	for i := range c.Held {
		m := &c.Held[i]
		if l, known := s.held[m.Stream]; !known || m.Revision < l.revision {
			s.held[m.Stream] = letter{partition, m.Revision}
		}
	}
	return nil
}

var errReplaced = errors.New("another rebuild has begun and taken the shadow's place")

// Live implements projections.Shadow; nil = the view has no position yet.
func (s *Shadow) Live(ctx context.Context) ([]uint64, error) {
	at, _, err := s.positions(ctx, s.db.Pool(), "")
	return at, err
}

// positions are the live view's, and the journal it is of.
func (s *Shadow) positions(ctx context.Context, q pg.Querier, lock string) (at []uint64, journal string, err error) {
	rows, err := q.Query(ctx, `SELECT position, incarnation FROM agents.checkpoints WHERE view = $1 AND partition < $2
		ORDER BY partition `+lock, s.view, s.partitions)
	if err != nil {
		return nil, "", fmt.Errorf("read the checkpoints: %w", err)
	}
	var position uint64
	_, err = pgx.ForEachRow(rows, []any{&position, &journal}, func() error {
		if journal != s.journal && !s.accept {
			return s.foreign(journal)
		}
		at = append(at, position)
		return nil
	})
	if err != nil || len(at) < s.partitions {
		return nil, journal, err
	}
	return at, journal, nil
}

func (s *Shadow) foreign(journal string) error {
	return fmt.Errorf("%w: SQL holds the view of journal %s, this is journal %s",
		history.ErrForeignJournal, journal, s.journal)
}

// Drop implements projections.Shadow.
func (s *Shadow) Drop(ctx context.Context) error {
	if _, err := s.db.Pool().Exec(ctx, `DROP SCHEMA IF EXISTS agents_next CASCADE`); err != nil {
		return fmt.Errorf("drop the shadow generation: %w", err)
	}
	return nil
}
