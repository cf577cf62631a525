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

// Place names the rows that one aggregate's events may change.
type Place struct{ Kind, ID, Key string }

// apply writes a folded batch, as Target does.
type apply func(ctx context.Context, partition int, from, to uint64, c projections.Changes) error

// refold reads a journal from its beginning in large batches, ever further on.
// Reading and folding run beside the writing.
type refold struct {
	source  history.Source
	batch   int
	step    func(events uint64)      // told how many more were applied
	at      []uint64                 // by partition: applied up to here
	touched map[Place]struct{}       // nil = not collected
	held    map[events.Stream]uint64 // left out, from a revision on
	cursors []history.Cursor
}

func newRefold(src history.Source, batch int, step func(uint64)) *refold {
	return &refold{source: src, batch: batch, step: step, held: map[events.Stream]uint64{},
		at: make([]uint64, src.Partitions()), cursors: make([]history.Cursor, src.Partitions())}
}

func (f *refold) stop() {
	for _, c := range f.cursors {
		if c != nil {
			c.Stop()
		}
	}
}

// upTo brings a partition to a revision that the journal has.
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
			cancel() // and drain what read still sends
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
	changes projections.Changes // of all of the batch, where it is folded
	err     error
}

// read sends folded batches up to a revision, the last of them at it or with
// an error.
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
	if f.touched == nil {
		return
	}
	for i := range batch {
		if kind, id, key := readmodel.RowOf(batch[i].Stream); kind != "" {
			f.touched[Place{kind, id, key}] = struct{}{}
		}
	}
}

// sample folds the first events of a journal, at most most of them, and tells
// how many there were.
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

// FoldPlan is what a fold of the whole journal would take.
type FoldPlan struct {
	Events  uint64  `json:"events"`  // to fold
	Rate    float64 `json:"rate"`    // events a second, by a sample
	Seconds float64 `json:"seconds"` // about
}

// sampleEvents bounds the sample that a plan folds.
const sampleEvents = 10_000

// PlanFold measures, by a sample, what folding the journal in memory takes.
func PlanFold(ctx context.Context, src history.Source) (FoldPlan, error) {
	nothing := func(context.Context, int, uint64, uint64, projections.Changes) error { return nil }
	return PlanWith(ctx, src, nothing)
}

// PlanWith is the same where the sample's rows are written.
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
