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
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Eraser removes what the tables have of erased agents. The archive needs nothing: its
// events are encrypted.
type Eraser struct{ db *pg.DB }

// NewEraser returns the eraser of a database.
func NewEraser(db *pg.DB) *Eraser { return &Eraser{db} }

// eraseAgent removes the rows of an agent up to the revision of its erasure: those of
// entries and configuration are gone if the view has reached it.
var eraseAgent = []string{
	`DELETE FROM agents.state WHERE agent_id = @agent AND revision <= @revision AND revision <> ALL (@living::bigint[])`,
	`DELETE FROM agents.config WHERE agent_id = @agent AND revision <= @revision AND revision <> ALL (@living::bigint[])`,
	eraseConflicts,
	eraseMessages,
}

// eraseConflicts removes the losing writes of an agent up to the revision of its erasure.
const eraseConflicts = `DELETE FROM agents.conflicts WHERE agent_id = @agent AND revision <= @revision AND revision <> ALL (@living::bigint[])`

// eraseMessages removes what an agent has sent, and what it was sent, up to its erasure. The
// sequence of messages from builds that kept no events is no revision; these have no digest.
const eraseMessages = `DELETE FROM agents.messages WHERE sender <> @agent AND recipient = @agent AND sent_at <= @at
	OR sender = @agent AND (digest IS NULL AND sent_at <= @at OR sequence <= @revision AND sequence <> ALL (@living::bigint[]))`

// erasedRows are the parameters of eraseConflicts and eraseMessages for the events agent.erased
// of a batch, by revision. When a view reaches one it removes again what the erasure has removed:
// the database may be one restored from an older backup.
func (t *View) erasedRows(ctx context.Context, c *projections.Changes) (map[uint64]pgx.NamedArgs, error) {
	var all map[uint64]pgx.NamedArgs // most batches have none
	for _, rec := range c.Events {
		if rec.Type != events.Erased {
			continue
		}
		var living []int64
		if t.Living != nil {
			var err error
			if living, err = t.Living(ctx, rec); err != nil {
				return nil, fmt.Errorf("read what the erasure of %s has left: %w", rec.ID, err)
			}
		}
		if all == nil {
			all = map[uint64]pgx.NamedArgs{}
		}
		all[rec.Revision] = erasedArgs(rec, living)
	}
	return all, nil
}

func erasedArgs(erased *events.Record, living []int64) pgx.NamedArgs {
	if living == nil {
		living = []int64{}
	}
	return pgx.NamedArgs{"agent": erased.ID, "revision": int64(erased.Revision), "at": erased.RecordedAt, "living": living}
}

// erasures are erased aggregates by name and id, with the time up to which commands that
// concern them are removed from the outbox; zero = all. Commands that wait are executed
// later, as those of a new life.
type erasures map[[2]string]time.Time

// erasuresOf are the erasures among events.
func erasuresOf(recs []*events.Record) erasures {
	e := erasures{}
	for _, rec := range recs {
		switch rec.Type {
		case events.Erased, events.TaskErased, events.SessionErased, events.ReminderErased, events.ClaimErased:
			e[[2]string{rec.Aggregate, rec.ID}] = rec.RecordedAt
		}
	}
	return e
}

// selectOutbox reads the commands that may concern the agents $1 or the aggregates that were
// erased with them, $2: their ids are tokens of the subject, or in the body, where JSON may
// spell them with escapes; those of $2 in a command in the body alone. Of a body that is
// longer than any that is accepted it reads the agents that are tokens of it. A command that has
// erased an agent holds its reason alone, and who sent it waits for its outcome.
const selectOutbox = `
	SELECT id, subject, coalesce(CASE WHEN octet_length(body) <= 4194304 THEN body ELSE
			(SELECT string_agg(agent, ' ') FROM unnest($1::text[]) AS u (agent) WHERE body ~ ('(^|[^A-Za-z0-9_-])' || agent || '([^A-Za-z0-9_-]|$)')) END, ''),
		least(greatest(done_at, '1970-01-01'), '9999-01-01')
	FROM agents.outbox
	WHERE done_at IS NOT NULL AND NOT coalesce(outcome ? 'erasure', false) AND (string_to_array(subject, '.') && ($1::text[] || $2::text[]) OR position('\u' IN body) > 0
		OR EXISTS (SELECT FROM unnest($1::text[]) AS u (agent) WHERE position(agent IN body) > 0)
		OR cardinality($2::text[]) > 0 AND position('"command' IN body) > 0)`

// removeOutbox removes the commands that concern what was erased from the outbox.
func (e erasures) removeOutbox(ctx context.Context, tx pgx.Tx) error {
	if len(e) == 0 {
		return nil
	}
	agents, owned := []string{}, []string{}
	for name := range e {
		if name[0] == "agent" {
			agents = append(agents, name[1])
		} else {
			owned = append(owned, name[1])
		}
	}
	rows, err := tx.Query(ctx, selectOutbox, agents, owned)
	if err != nil {
		return err
	}
	var ids []int64
	var id int64
	var subject, body string
	var done time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &subject, &body, &done}, func() error {
		erased := readmodel.Erased(func(aggregate, id string) bool {
			upTo, found := e[[2]string{aggregate, id}]
			return found && (upTo.IsZero() || !done.After(upTo))
		})
		if erased.Concerns(subject, []byte(body)) {
			ids = append(ids, id)
		}
		return nil
	})
	if err == nil && len(ids) > 0 {
		_, err = tx.Exec(ctx, `DELETE FROM agents.outbox WHERE id = ANY ($1)`, ids)
	}
	return err
}

// Agent removes the rows of an agent up to the event of its erasure, but for the living ones,
// and the commands of the outbox that concern it or what was erased with it: ids by aggregate.
func (e *Eraser) Agent(ctx context.Context, erased *events.Record, living []int64, owned map[string][]string) error {
	args := erasedArgs(erased, living)
	all := erasures{{"agent", erased.ID}: {}}
	for aggregate, ids := range owned {
		for _, id := range ids {
			all[[2]string{aggregate, id}] = time.Time{}
		}
	}
	err := e.db.InTx(ctx, func(tx pgx.Tx) error {
		for _, sql := range eraseAgent {
			if _, err := tx.Exec(ctx, sql, args); err != nil {
				return err
			}
		}
		return all.removeOutbox(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("remove the rows of the erased agent %s: %w", erased.ID, err)
	}
	return nil
}

// erasable are the tables that hold content of agents in the clear. The planner has no
// statistics of their columns that do, by a migration.
var erasable = []string{"state", "config", "conflicts", "tasks", "sessions", "claims", "reminders", "messages", "outbox"}

// Compact rewrites the tables, so that no removed row is left in their files. Each
// table is locked meanwhile. The write-ahead log of the server is not touched. more are
// tables beside those of the durable view, quoted.
func (e *Eraser) Compact(ctx context.Context, more ...string) error {
	// A transaction that holds the table is not waited for long: others queue behind.
	err := e.db.Unlimited(ctx, time.Second, func(conn *pg.Conn) error {
		for _, table := range slices.Concat(erasable, more) {
			if _, err := conn.Exec(ctx, `VACUUM (FULL) agents.`+table); err != nil {
				return fmt.Errorf("the table %s: %w", e.db.Table(table), err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("compact the tables: %w", err)
	}
	return nil
}

// HasShadow reports whether there are tables of a rebuild.
func (e *Eraser) HasShadow(ctx context.Context) (found bool, err error) {
	err = e.db.Pool().QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, strings.TrimSuffix(e.db.In(string(next)+"."), ".")).Scan(&found)
	if err != nil {
		err = fmt.Errorf("look for tables of a rebuild: %w", err)
	}
	return found, err
}

// DropShadow removes the tables of a rebuild, which hold values of agents.
func (e *Eraser) DropShadow(ctx context.Context) error { return dropShadow(ctx, e.db) }
