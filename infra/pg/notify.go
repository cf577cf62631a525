package pg

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/projections"
)

// After a transaction of the durable view has committed, what it changed is
// told, and then how far that is. A process that ends in between tells again
// at its next start, from the journal: no change goes untold, and who listens
// tells repetitions apart by revision.

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
func queueOld(b *pgx.Batch, changes []projections.EntryChange, into *[]projections.Notice) {
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

// tell publishes what a committed batch changed, and before it what an earlier
// one could not. Failing, it leaves that to the next batch. The view does not
// wait for those who listen: while one batch is told, the next is written.
func (t *Durable) tell(ctx context.Context, partition int, from, to uint64, notices []projections.Notice) {
	if t.Notify == nil {
		return
	}
	t.settle(partition)
	done := make(chan struct{})
	t.mu.Lock()
	if t.tells == nil {
		t.tells = map[int]chan struct{}{}
	}
	t.tells[partition] = done
	t.mu.Unlock()
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
		defer cancel()
		t.tellNow(ctx, partition, from, to, notices)
	}()
}

// settle waits until the last batch of a partition has been told.
func (t *Durable) settle(partition int) {
	t.mu.Lock()
	done := t.tells[partition]
	t.mu.Unlock()
	if done != nil {
		<-done
	}
}

// Settle waits until what was committed has been told, or could not be. It is
// for the end, after the view's runners.
func (t *Durable) Settle() {
	t.mu.Lock()
	partitions := slices.Collect(maps.Keys(t.tells))
	t.mu.Unlock()
	for _, p := range partitions {
		t.settle(p)
	}
}

func (t *Durable) tellNow(ctx context.Context, partition int, from, to uint64, notices []projections.Notice) {
	t.mu.Lock()
	told, known := t.told[partition]
	t.mu.Unlock()
	var err error
	switch {
	case known && told < from:
		err = t.Notify.Again(ctx, partition, told, to)
	case len(notices) > 0:
		err = t.Notify.Notify(ctx, partition, from, notices)
	}
	if err == nil {
		t.setTold(ctx, partition, to)
	}
}

// catchUp tells what was committed and perhaps not told before a restart.
func (t *Durable) catchUp(ctx context.Context, partition int, notified *uint64, position uint64) {
	if t.Notify == nil {
		return
	}
	if notified == nil {
		t.setTold(ctx, partition, position)
		return
	}
	t.note(partition, *notified)
	if *notified < position && t.Notify.Again(ctx, partition, *notified, position) == nil {
		t.setTold(ctx, partition, position)
	}
}

func (t *Durable) note(partition int, told uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told == nil {
		t.told = map[int]uint64{}
	}
	t.told[partition] = told
}

// setTold notes up to where all has been told. Where SQL does not take it, it
// is told again after a restart. Its loss would only do the same: it does not
// wait for the disk.
func (t *Durable) setTold(ctx context.Context, partition int, told uint64) {
	t.note(partition, told)
	_, _ = t.db.pool.Exec(ctx, `
		UPDATE agents.checkpoints SET notified = $3
		FROM (SELECT set_config('synchronous_commit', 'off', true)) AS relaxed
		WHERE view = $1 AND partition = $2 AND position >= $3`, t.view, partition, told)
}
