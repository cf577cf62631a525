package durable

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// After a transaction of the durable view has committed, what it changed is
// told, and then how far that is. A process that ends in between tells again
// at its next start, from the journal, and who listens tells repetitions apart
// by revision. Only what was put right behind the position is not covered by
// one: a process that ends before it could tell that never does.

// selectOld reads the rows that a batch is about to change. Nobody else writes
// them meanwhile: the checkpoint's row is locked.
const selectOld = `
	SELECT b.n, s.state_text, s.revision
	FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS b (a, k, n)
	JOIN agents.state s ON s.agent_id = b.a AND s.state_key = b.k`

// queueOld reads, before the batch's own writes, what is there, and turns the
// batch into notices. A row as new as the change was written ahead of the view
// (a flush on command does): what was there before is then in the journal.
// Before an entry's first event there was nothing.
func queueOld(b *pgx.Batch, changes []readmodel.EntryChange, into *[]projections.Notice) {
	notices := make([]projections.Notice, len(changes))
	*into = notices
	var agents, keys []string
	var places []int
	for i := range changes {
		c := &changes[i]
		// No row and nothing to delete: either there was none, or it has gone ahead.
		notices[i] = projections.Notice{EntryChange: *c, Known: !c.Deleted || c.Version == 1}
		if c.Version > 1 {
			agents, keys, places = append(agents, c.Agent), append(keys, c.Key), append(places, i)
		}
	}
	if len(places) == 0 {
		return
	}
	b.Queue(selectOld, agents, keys).Query(func(rows pgx.Rows) error {
		var n int64
		var text string
		var revision uint64
		_, err := pgx.ForEachRow(rows, []any{&n, &text, &revision}, func() error {
			c := &notices[places[n-1]]
			if c.Known = revision < c.Revision; c.Known {
				c.Old = []byte(text)
			}
			return nil
		})
		return err
	})
}

// tell has what a committed batch changed told.
func (t *View) tell(partition int, w written) {
	if t.Notify != nil && (w.from < w.to || len(w.notices) > 0) {
		t.teller(partition).tell(w)
	}
}

// teller is a partition's.
func (t *View) teller(partition int) *teller {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tellers == nil {
		t.tellers = map[int]*teller{}
	}
	of := t.tellers[partition]
	if of == nil {
		of = newTeller(t.Notify, partition, func(ctx context.Context, told uint64) {
			t.setTold(ctx, partition, told)
		})
		t.tellers[partition] = of
	}
	return of
}

// catchUp begins to tell what was committed and perhaps not told before a
// restart; notified is up to where all was, nil = nobody has been told anything.
func (t *View) catchUp(ctx context.Context, partition int, notified *uint64, position uint64) {
	if t.Notify == nil {
		return
	}
	if notified == nil {
		notified = &position
		t.setTold(ctx, partition, position)
	}
	t.teller(partition).restart(min(*notified, position), position)
}

// Leave ends what is being told of a partition; whoever loads it next goes on
// with it. It is for a runner that lost its lease.
func (t *View) Leave(partition int) {
	if t.Notify != nil {
		t.teller(partition).stop()
	}
}

// Settle gives what is being told a moment and ends it; what is left is told
// after a restart, see the start of this file. It is for the end, after the
// view's runners.
func (t *View) Settle() {
	t.mu.Lock()
	all := slices.Collect(maps.Values(t.tellers))
	t.mu.Unlock()
	end := time.Now().Add(tellTime)
	for _, of := range all {
		of.settle(time.Until(end))
		of.stop()
	}
}

// Told implements projections.Teller.
func (t *View) Told(ctx context.Context, partition int) (told uint64, err error) {
	if t.Notify == nil {
		return math.MaxUint64, nil
	}
	err = t.db.Pool().QueryRow(ctx, `
		SELECT least(notified, position) FROM agents.checkpoints WHERE view = $1 AND partition = $2`,
		t.view, partition).Scan(&told)
	if err != nil {
		return 0, fmt.Errorf("read up to where all has been told: %w", err)
	}
	return told, nil
}

// setTold notes up to where all has been told. Where SQL does not take it, it
// is told again after a restart. Its loss would only do the same: it does not
// wait for the disk.
func (t *View) setTold(ctx context.Context, partition int, told uint64) {
	_, _ = t.db.Pool().Exec(ctx, `
		UPDATE agents.checkpoints SET notified = $3
		FROM (SELECT set_config('synchronous_commit', 'off', true)) AS relaxed
		WHERE view = $1 AND partition = $2 AND position >= $3
			AND (notified IS NULL OR notified < $3 OR notified > position)`, t.view, partition, told)
}
