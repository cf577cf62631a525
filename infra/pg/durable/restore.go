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

// restorePage is the number of aggregates that one transaction restores; the view
// waits for it.
const restorePage = 200

// historyTimeout gives a transaction time to read the history.
const historyTimeout = `SET LOCAL idle_in_transaction_session_timeout = '2min'`

// Restore replaces the rows of aggregates by their state in the history, even
// rows that have an equal or higher revision, and deletes the rows of aggregates
// that do not exist. It leaves the rows of aggregates whose last event cannot be
// folded unchanged.
//
// The transaction locks the view's checkpoints, so that the view cannot write
// between the read of the history and the commit. Later writes of the view are
// newer, or the revision check drops them.
func (t *View) Restore(ctx context.Context, h *history.History, streams []events.AggregateName) error {
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

func (t *View) restore(ctx context.Context, tx pgx.Tx, h *history.History, streams []events.AggregateName) error {
	if _, err := tx.Exec(ctx, historyTimeout); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `SELECT 1 FROM agents.checkpoints WHERE view = $1 ORDER BY partition FOR UPDATE`, t.view)
	if err != nil {
		return err
	}
	states, err := projections.StateOf(ctx, h, streams)
	if err != nil {
		return err
	}
	slices.SortFunc(states.Entries, func(a, b readmodel.EntryChange) int {
		return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Key, b.Key))
	})
	b := &pgx.Batch{}
	queueRemovals(b, &states)
	queueEntries(b, t.schema, states.Entries)
	queueDocs(b, t.schema, states.Docs)
	queueConflicts(b, t.schema, states.Losses)
	return tx.SendBatch(ctx, b).Close()
}

// tables names the table of each kind of rows and its key columns.
var tables = map[string]struct{ name, id, key string }{
	readmodel.KindEntry:     {"agents.state", "agent_id", "state_key"},
	readmodel.KindConflict:  {"agents.conflicts", "agent_id", "state_key"},
	readmodel.KindConfig:    {"agents.config", "agent_id", "config_key"},
	readmodel.KindTask:      {"agents.tasks", "task_id", "''"},
	readmodel.KindSession:   {"agents.sessions", "session_id", "''"},
	readmodel.KindClaim:     {"agents.claims", "claim_id", "''"},
	readmodel.KindInbox:     {"agents.inboxes", "agent_id", "''"},
	readmodel.KindReminder:  {"agents.reminders", "reminder_id", "''"},
	readmodel.KindView:      {"agents.views", "name", "''"},
	readmodel.KindLifecycle: {"agents.lifecycle", "agent_id", "''"},
	readmodel.KindMessage:   {"agents.messages", "sender", "message_id"},
}

// queueRemovals deletes the rows of every aggregate in states, existing or not.
func queueRemovals(b *pgx.Batch, states *projections.RowStates) {
	ids, keys := map[string][]string{}, map[string][]string{}
	remove := func(kind, id, key string) {
		ids[kind], keys[kind] = append(ids[kind], id), append(keys[kind], key)
	}
	for i := range states.Entries {
		remove(readmodel.KindEntry, states.Entries[i].Agent, states.Entries[i].Key)
	}
	for i := range states.Docs {
		remove(states.Docs[i].Kind, states.Docs[i].ID, states.Docs[i].Key)
	}
	for i := range states.Losses {
		remove(readmodel.KindConflict, states.Losses[i].Agent, states.Losses[i].Key)
	}
	for _, s := range states.Absent {
		remove(readmodel.RowOf(s))
	}
	for _, kind := range rowKinds {
		if t := tables[kind]; len(ids[kind]) > 0 {
			of := t.name + ` t JOIN unnest($1::text[], $2::text[]) AS b (id, key) ON ` + t.id + ` = b.id AND ` + t.key + ` = b.key`
			// DELETE locks rows in any order: lock them in key order first, as a flush does.
			b.Queue(`SELECT FROM `+of+` ORDER BY b.id COLLATE "C", b.key COLLATE "C" FOR UPDATE OF t`, ids[kind], keys[kind])
			b.Queue(`DELETE FROM `+t.name+` t USING unnest($1::text[], $2::text[]) AS b (id, key)
				WHERE `+t.id+` = b.id AND `+t.key+` = b.key`, ids[kind], keys[kind])
		}
	}
}
