package faults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// inSQL fails when a number in SQL is not the wanted one.
func (tr *traffic) inSQL(ctx context.Context, want int, query string, args ...any) error {
	conn, err := pgx.Connect(ctx, tr.sql)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	var n int
	if err = conn.QueryRow(ctx, query, args...).Scan(&n); err == nil && n != want {
		err = fmt.Errorf("%d, want %d", n, want)
	}
	return err
}

// inbox fails when SQL lacks an accepted message.
func (tr *traffic) inbox(ctx context.Context) error {
	return tr.inSQL(ctx, len(tr.messages), `SELECT count(DISTINCT message_id) FROM agents.messages WHERE message_id = ANY($1)`, tr.messages)
}

// relayed fails when an inserted row has no outcome.
func (tr *traffic) relayed(ctx context.Context) error {
	return tr.inSQL(ctx, len(tr.rows), `SELECT count(DISTINCT command_id) FROM agents.outbox WHERE done_at IS NOT NULL AND command_id = ANY($1)`, tr.rows)
}

// ended fails when a task is open whose deadline has passed.
func (tr *traffic) ended(ctx context.Context) error {
	return tr.inSQL(ctx, len(tr.tasks), `SELECT count(*) FROM agents.tasks WHERE status = 'cancelled' AND task_id = ANY($1)`,
		slices.Collect(maps.Keys(tr.tasks)))
}

// outcomes fails when an enqueued command has no outcome.
func (tr *traffic) outcomes(context.Context) error {
	has := map[string]bool{}
	for _, m := range tr.c.Messages(tr.t, "OUTCOMES", "outcomes.>") {
		has[strings.TrimPrefix(m.Subject, "outcomes.")] = true
	}
	for n, id := range tr.queued {
		if !has[id] {
			return fmt.Errorf("number %d of %d, %s, has none", n, len(tr.queued), id)
		}
	}
	return nil
}

// check compares what the traffic has seen with the journal: one effect for each command that was
// taken, none that was not sent, atomic batches whole, each task ended once and never early.
func (tr *traffic) check(all []harness.Event) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	effects, ends := map[string]int{}, map[string]int{}
	for i := range all {
		e := &all[i]
		if !strings.HasPrefix(e.ID, side) {
			continue
		}
		switch agent, _, _ := e.Entry(); {
		case agent != "":
			if effects[e.CommandID]++; !tr.sent[e.CommandID] {
				complain("no client sent command %s of %s revision %d", e.CommandID, e.Subject, e.Revision)
			}
		case e.Type == "task.cancelled":
			ends[e.ID]++
			if deadline, ok := tr.tasks[e.ID]; ok && e.Timestamp.Before(deadline) {
				complain("task %s ended at %s, before its deadline %s", e.ID, e.Timestamp, deadline)
			}
		}
	}
	once := func(what string, ids []string) {
		for _, id := range ids {
			if effects[id] != 1 {
				complain("%s %s took effect %d times", what, id, effects[id])
			}
		}
	}
	once("enqueued command", tr.queued)
	once("outbox row", tr.rows)
	for _, b := range tr.batches {
		n := 0
		for _, id := range b.ids {
			n += effects[id]
		}
		if n != len(b.ids) && (n > 0 || b.accepted) {
			complain("%d of the %d commands of batch %v took effect", n, len(b.ids), b.ids)
		}
	}
	for id := range tr.tasks {
		if ends[id] != 1 {
			complain("task %s ended %d times", id, ends[id])
		}
	}
	return wrong
}

// checkFeed returns what the feed of entries lacks or has twice: each event of the journal belongs
// there once.
func checkFeed(all []harness.Event, feed []harness.Message) (wrong []string) {
	seen := map[string][]uint64{} // sequences by revision
	for _, m := range feed {
		revision := m.Header.Get("Tidemark-Revision")
		kv := strings.HasPrefix(m.Subject, "agents.state.kv.")                                        // the bucket republishes some puts
		if !kv && strings.Count(m.Subject, ".") > 2 && !slices.Contains(seen[revision], m.Sequence) { // notifications have no key
			seen[revision] = append(seen[revision], m.Sequence)
		}
	}
	for i := range all {
		e := &all[i]
		if _, _, loser := e.Entry(); loser || !strings.Contains(e.Subject, ".state.") {
			continue
		}
		if at := seen[fmt.Sprint(e.Revision)]; len(at) != 1 {
			wrong = append(wrong, fmt.Sprintf("the feed has revision %d of %s %d times, at %d", e.Revision, e.Subject, len(at), at))
		}
	}
	return wrong
}
