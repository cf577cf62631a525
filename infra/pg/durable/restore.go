package durable

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// restorePage is how many streams' rows one transaction restores; the view
// waits for it.
const restorePage = 200

// askTimeout lets a transaction wait for the journal's answer.
const askTimeout = `SET LOCAL idle_in_transaction_session_timeout = '2min'`

// Restore makes the rows of streams what the journal says, whatever is there:
// also those that claim an equal or a higher revision, and away where nothing
// lives. Rows of streams whose end cannot be folded are left alone.
//
// The transaction holds the view's checkpoints, so that the view cannot write
// between the question to the journal and the answer's commit: what it writes
// afterwards is newer, or loses by its revision.
func (t *View) Restore(ctx context.Context, h *history.History, streams []events.Stream) error {
	for len(streams) > 0 {
		n := min(len(streams), restorePage)
		err := t.db.InTx(ctx, func(tx pgx.Tx) error { return t.restore(ctx, tx, h, streams[:n]) })
		if err != nil {
			return fmt.Errorf("restore the rows of %d streams: %w", n, err)
		}
		streams = streams[n:]
	}
	return nil
}

func (t *View) restore(ctx context.Context, tx pgx.Tx, h *history.History, streams []events.Stream) error {
	if _, err := tx.Exec(ctx, askTimeout); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `SELECT 1 FROM agents.checkpoints WHERE view = $1 ORDER BY partition FOR UPDATE`, t.view)
	if err != nil {
		return err
	}
	said, err := projections.StateOf(ctx, h, streams)
	if err != nil {
		return err
	}
	slices.SortFunc(said.Entries, func(a, b readmodel.EntryChange) int {
		return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Key, b.Key))
	})
	b := &pgx.Batch{}
	queueRemovals(b, &said)
	queueEntries(b, t.schema, said.Entries)
	queueDocs(b, t.schema, said.Docs)
	queueLosses(b, t.schema, said.Losses)
	return tx.SendBatch(ctx, b).Close()
}

// tables are where each kind's rows are, and their key.
var tables = map[string]struct{ name, id, key string }{
	readmodel.KindEntry:     {"agents.state", "agent_id", "state_key"},
	readmodel.KindConflict:  {"agents.conflicts", "agent_id", "state_key"},
	readmodel.KindConfig:    {"agents.config", "agent_id", "config_key"},
	readmodel.KindTask:      {"agents.tasks", "task_id", "''"},
	readmodel.KindSession:   {"agents.sessions", "session_id", "''"},
	readmodel.KindLifecycle: {"agents.lifecycle", "agent_id", "''"},
}

// queueRemovals removes every row of which the journal has something to say,
// or nothing at all.
func queueRemovals(b *pgx.Batch, said *projections.Said) {
	ids, keys := map[string][]string{}, map[string][]string{}
	remove := func(kind, id, key string) {
		ids[kind], keys[kind] = append(ids[kind], id), append(keys[kind], key)
	}
	for i := range said.Entries {
		remove(readmodel.KindEntry, said.Entries[i].Agent, said.Entries[i].Key)
	}
	for i := range said.Docs {
		remove(said.Docs[i].Kind, said.Docs[i].ID, said.Docs[i].Key)
	}
	for i := range said.Losses {
		remove(readmodel.KindConflict, said.Losses[i].Agent, said.Losses[i].Key)
	}
	for _, s := range said.None {
		remove(readmodel.RowOf(s))
	}
	for _, kind := range keptKinds {
		if t := tables[kind]; len(ids[kind]) > 0 {
			of := t.name + ` t JOIN unnest($1::text[], $2::text[]) AS b (id, key) ON ` + t.id + ` = b.id AND ` + t.key + ` = b.key`
			// Locked in their order, as a flush does, for a deletion has none.
			b.Queue(`SELECT FROM `+of+` ORDER BY b.id COLLATE "C", b.key COLLATE "C" FOR UPDATE OF t`, ids[kind], keys[kind])
			b.Queue(`DELETE FROM `+t.name+` t USING unnest($1::text[], $2::text[]) AS b (id, key)
				WHERE `+t.id+` = b.id AND `+t.key+` = b.key`, ids[kind], keys[kind])
		}
	}
}
