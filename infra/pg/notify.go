package pg

import (
	"context"
	"maps"
	"slices"
	"time"

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

// telling is what a partition's listeners are being told.
type telling struct {
	told uint64        // up to where all has been told
	want uint64        // up to where the view has committed
	done chan struct{} // closed when nobody tells any more; nil = nobody does
}

// tellPatience is how long a batch waits for the one before it to be told. A
// view that outruns its listeners by little so goes at their pace; who does not
// listen at all holds it up by no more.
const tellPatience = 200 * time.Millisecond

// tell publishes what a committed batch changed, and before it what an earlier
// one could not. What fails, or is not done in time, is left to a later one.
// The view does not wait for those who listen: while one batch is told, the
// next is written.
func (t *Durable) tell(ctx context.Context, partition int, from, to uint64, notices []projections.Notice) {
	if t.Notify == nil {
		return
	}
	t.settle(partition, tellPatience)
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.telling(partition, from)
	if of.want = max(of.want, to); of.done != nil {
		return // whoever tells goes on until there is no more
	}
	of.done = make(chan struct{})
	go t.tellAll(context.WithoutCancel(ctx), partition, of, from, to, notices)
}

// telling is a partition's; mu is held. A partition that is not known has been
// told of everything up to from.
func (t *Durable) telling(partition int, from uint64) *telling {
	of := t.tells[partition]
	if of == nil {
		if t.tells == nil {
			t.tells = map[int]*telling{}
		}
		of = &telling{told: from, want: from}
		t.tells[partition] = of
	}
	return of
}

// tellAll tells of a batch, and then of what was committed meanwhile.
func (t *Durable) tellAll(ctx context.Context, partition int, of *telling, from, to uint64, notices []projections.Notice) {
	t.mu.Lock()
	told := of.told
	t.mu.Unlock()
	for first := true; ; first = false {
		at, err := t.tellOnce(ctx, partition, told, from, to, notices, first)
		if at > told {
			t.setTold(ctx, partition, at)
		}
		t.mu.Lock()
		of.told = max(of.told, at)
		told = of.told
		if err != nil || told >= of.want || t.ending {
			close(of.done)
			of.done = nil
			t.mu.Unlock()
			return
		}
		to = of.want
		t.mu.Unlock()
	}
}

// tellOnce returns up to where all has been told.
func (t *Durable) tellOnce(ctx context.Context, partition int, told, from, to uint64, notices []projections.Notice, first bool) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	if !first || told < from {
		return t.Notify.Again(ctx, partition, told, to)
	}
	if len(notices) > 0 {
		if err := t.Notify.Notify(ctx, partition, from, notices); err != nil {
			return told, err
		}
	}
	return max(told, to), nil
}

// settle waits until nobody tells a partition's listeners any more; patience 0
// = however long that takes.
func (t *Durable) settle(partition int, patience time.Duration) {
	t.mu.Lock()
	var done chan struct{}
	if of := t.tells[partition]; of != nil {
		done = of.done
	}
	t.mu.Unlock()
	if done == nil {
		return
	}
	var late <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-done:
	case <-late:
	}
}

// Settle waits until what is being told has been, or could not be; what is left
// is told after a restart. It is for the end, after the view's runners.
func (t *Durable) Settle() {
	t.mu.Lock()
	t.ending = true
	partitions := slices.Collect(maps.Keys(t.tells))
	t.mu.Unlock()
	for _, p := range partitions {
		t.settle(p, 0)
	}
}

// catchUp tells what was committed and perhaps not told before a restart.
func (t *Durable) catchUp(ctx context.Context, partition int, notified *uint64, position uint64) {
	if t.Notify == nil {
		return
	}
	if notified == nil {
		t.restart(partition, position)
		t.setTold(ctx, partition, position)
		return
	}
	t.restart(partition, *notified)
	if *notified < position {
		t.tell(ctx, partition, position, position, nil)
		t.settle(partition, tellTime)
	}
}

// restart begins at where a checkpoint says that all has been told.
func (t *Durable) restart(partition int, told uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.telling(partition, told)
	of.told, of.want = told, told
}

// setTold notes up to where all has been told. Where SQL does not take it, it
// is told again after a restart. Its loss would only do the same: it does not
// wait for the disk.
func (t *Durable) setTold(ctx context.Context, partition int, told uint64) {
	_, _ = t.db.pool.Exec(ctx, `
		UPDATE agents.checkpoints SET notified = $3
		FROM (SELECT set_config('synchronous_commit', 'off', true)) AS relaxed
		WHERE view = $1 AND partition = $2 AND position >= $3`, t.view, partition, told)
}
