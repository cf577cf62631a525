package rebuild

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// RowKey names the rows that the events of one aggregate may change.
type RowKey struct{ Kind, ID, Key string }

// apply writes a folded batch, as projections.Target does.
type apply func(ctx context.Context, partition int, from, to uint64, c projections.Changes) error

// refold reads a journal from its beginning in large batches. Reading and folding run concurrently
// with writing.
type refold struct {
	source      history.Source
	batch       int
	step        func(events uint64)             // called with the number of newly applied events
	at          []uint64                        // position by partition
	touchedRows map[RowKey]struct{}             // nil = not collected
	quarantined map[events.AggregateName]uint64 // quarantined from this revision on
	cursors     []history.Cursor
}

func newRefold(src history.Source, batch int, step func(uint64)) *refold {
	return &refold{source: src, batch: batch, step: step, quarantined: map[events.AggregateName]uint64{},
		at: make([]uint64, src.Partitions()), cursors: make([]history.Cursor, src.Partitions())}
}

func (f *refold) stop() {
	for _, c := range f.cursors {
		if c != nil {
			c.Stop()
		}
	}
}

// upTo applies the events of a partition up to a revision that the journal has.
func (f *refold) upTo(ctx context.Context, p int, to uint64, write apply) error {
	if f.at[p] >= to {
		return nil
	}
	if f.cursors[p] == nil {
		var err error
		if f.cursors[p], err = f.source.Read(ctx, p, f.at[p]); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	folded := make(chan foldedBatch, 1)
	go f.read(ctx, p, to, folded)
	var err error
	for b := range folded {
		if err == nil {
			err = b.err
		}
		if err == nil {
			err = f.write(ctx, p, f.at[p], b, write)
		}
		if err != nil {
			cancel() // the loop drains what read still sends
			continue
		}
		f.at[p] = b.batch[len(b.batch)-1].Revision
		if f.step != nil {
			f.step(uint64(len(b.batch)))
		}
	}
	return err
}

type foldedBatch struct {
	batch   []history.Message
	folded  bool
	changes projections.Changes // of the whole batch, if folded
	err     error
}

// read sends folded batches up to a revision. The last batch ends at that revision or carries an
// error.
func (f *refold) read(ctx context.Context, p int, to uint64, out chan<- foldedBatch) {
	defer close(out)
	batch := make([]history.Message, 0, f.batch)
	for at := f.at[p]; at < to; {
		select {
		case m, ok := <-f.cursors[p].Messages():
			if !ok {
				out <- foldedBatch{err: fmt.Errorf("the journal's reader ended: %w", f.cursors[p].Err())}
				return
			}
			batch, at = append(batch, m), m.Revision
		case <-ctx.Done():
			out <- foldedBatch{err: ctx.Err()}
			return
		}
		if len(batch) == f.batch || at >= to {
			f.touch(batch)
			out <- foldedBatch{batch: batch, folded: true, changes: projections.Fold(batch)}
			batch = make([]history.Message, 0, f.batch)
		}
	}
}

func (f *refold) touch(batch []history.Message) {
	if f.touchedRows == nil {
		return
	}
	for i := range batch {
		if kind, id, key := readmodel.RowOf(batch[i].Name); kind != "" {
			f.touchedRows[RowKey{kind, id, key}] = struct{}{}
		}
	}
}

// sample folds at most the first most events of a journal and returns their number.
func sample(ctx context.Context, src history.Source, most uint64, write apply) (n uint64, err error) {
	f := newRefold(src, rebuildBatch/4, func(events uint64) { n += events })
	defer f.stop()
	for p := range f.at {
		head, err := src.Head(ctx, p)
		if err == nil {
			err = f.upTo(ctx, p, min(head, most-n), write)
		}
		if err != nil || n >= most {
			return n, err
		}
	}
	return n, nil
}

// FoldPlan estimates a fold of the whole journal.
type FoldPlan struct {
	Events  uint64  `json:"events"`  // to fold
	Rate    float64 `json:"rate"`    // events a second, from a sample
	Seconds float64 `json:"seconds"` // estimate
}

// sampleEvents bounds the sample that a plan folds.
const sampleEvents = 10_000

// PlanFold measures on a sample how long a fold of the journal in memory takes.
func PlanFold(ctx context.Context, src history.Source) (FoldPlan, error) {
	noWrite := func(context.Context, int, uint64, uint64, projections.Changes) error { return nil }
	return PlanWith(ctx, src, noWrite)
}

// PlanWith is PlanFold with a write of the sample's rows.
func PlanWith(ctx context.Context, src history.Source, write Write) (p FoldPlan, err error) {
	heads, err := headsOf(ctx, src)
	if err != nil {
		return p, err
	}
	for _, h := range heads {
		p.Events += h
	}
	began := time.Now()
	n, err := sample(ctx, src, sampleEvents, write)
	if err != nil || n == 0 {
		return p, err
	}
	p.Rate = float64(n) / time.Since(began).Seconds()
	p.Seconds = float64(p.Events) / p.Rate
	return p, nil
}
