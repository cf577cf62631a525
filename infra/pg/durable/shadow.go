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

// next is the schema of the shadow. Its tables are unlogged, because each run
// creates them again.
const next pg.Schema = "agents_next"

// Shadow is a copy of the durable view that a rebuild folds beside the live one.
// An interrupted run leaves its tables behind; the next run drops them. A unique
// view name distinguishes the checkpoints of each run.
type Shadow struct {
	db          *pg.DB
	view        string
	fold        *View // under this run's name
	partitions  int
	journal     string
	accept      bool
	quarantined map[events.AggregateName]quarantineStart // aggregates whose events could not be applied
	live        []uint64                                 // the live view's positions when the swap began; nil = another journal's
}

// quarantineStart is where an aggregate's quarantine starts.
type quarantineStart struct {
	partition int
	revision  uint64
}

var _ rebuild.Shadow = (*Shadow)(nil)

// shadowTable is one of the view's tables: its kind of rows and its key columns,
// which are k1, k2 and k3 in the key tables candidates, since and differs.
type shadowTable struct {
	kind, name string
	keys       []string
}

var shadowTables = []shadowTable{
	{readmodel.KindEntry, "state", []string{"agent_id", "state_key"}},
	{readmodel.KindTask, "tasks", []string{"task_id"}},
	{readmodel.KindSession, "sessions", []string{"session_id"}},
	{readmodel.KindClaim, "claims", []string{"claim_id"}},
	{readmodel.KindInbox, "inboxes", []string{"agent_id"}},
	{readmodel.KindReminder, "reminders", []string{"reminder_id"}},
	{readmodel.KindView, "views", []string{"name"}},
	{readmodel.KindConfig, "config", []string{"agent_id", "config_key"}},
	{readmodel.KindLifecycle, "lifecycle", []string{"agent_id"}},
	{readmodel.KindConflict, "conflicts", []string{"agent_id", "state_key", "version"}},
}

// match returns the condition that row has the key in c.
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

// key returns the columns k1, k2 and k3 of the first of the rows that is not NULL.
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

// NewShadow creates an empty shadow for a journal and drops that of an earlier
// run. accept lets the swap replace a view that was folded from another journal.
func NewShadow(ctx context.Context, db *pg.DB, view, journal string, partitions int, accept bool) (*Shadow, error) {
	s := &Shadow{db: db, view: view, partitions: partitions, journal: journal, accept: accept, quarantined: map[events.AggregateName]quarantineStart{},
		fold: &View{db: db, view: ulid.Make().String(), schema: next}}
	err := db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DROP SCHEMA IF EXISTS agents_next CASCADE`); err != nil {
			return err
		}
		return s.create(ctx, tx, next)
	})
	if err != nil {
		return nil, fmt.Errorf("create the shadow schema: %w", err)
	}
	return s, nil
}

// create creates the tables without the indexes that only lists need.
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

// Apply implements rebuild.Shadow.
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
	queueQuarantined(b, s.fold.schema, source(s.view), partition, c.Quarantined)
	err := tx.SendBatch(ctx, b).Close()
	if errors.Is(err, projections.ErrFenced) || pg.HasSQLState(err, "42P01") { // undefined_table
		return errReplaced
	}
	if err != nil {
		return fmt.Errorf("write %d events up to %d into the shadow: %w", len(c.Events), to, unappliable(err))
	}
	for i := range c.Quarantined {
		m := &c.Quarantined[i]
		if l, known := s.quarantined[m.Name]; !known || m.Revision < l.revision {
			s.quarantined[m.Name] = quarantineStart{partition, m.Revision}
		}
	}
	return nil
}

var errReplaced = errors.New("another rebuild has started and replaced the shadow")

// Live implements rebuild.Shadow; nil = the view has no position yet.
func (s *Shadow) Live(ctx context.Context) ([]uint64, error) {
	at, _, err := s.positions(ctx, s.db.Pool(), "")
	return at, err
}

// positions returns the live view's positions and its journal. lock is "" or a
// locking clause.
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
	return fmt.Errorf("%w: the view in SQL was folded from journal %s, this is journal %s",
		history.ErrForeignJournal, journal, s.journal)
}

// Drop implements rebuild.Shadow.
func (s *Shadow) Drop(ctx context.Context) error {
	return dropShadow(ctx, s.db)
}

func dropShadow(ctx context.Context, db *pg.DB) error {
	if _, err := db.Pool().Exec(ctx, `DROP SCHEMA IF EXISTS agents_next CASCADE`); err != nil {
		return fmt.Errorf("drop the shadow schema: %w", err)
	}
	return nil
}
