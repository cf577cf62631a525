package declared

import (
	"context"
	"fmt"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel/declared"
)

// Verified is the result for one declared view.
type Verified struct {
	View string `json:"view"`
	verify.Counts
}

// Verifier compares declared views with a fold of the history up to their positions.
type Verifier struct {
	Store   *Store
	Source  history.Source
	Bucket  func(ctx context.Context, shot *Snapshot) ([]declared.Mismatch, error) // compares the view's bucket
	Exclude func(view string, name events.AggregateName, revision uint64) bool     // quarantined by the view
}

// one is the comparison of one view.
type one struct {
	Snapshot
	fold    *declared.Fold
	recount *declared.Recount
}

// Run compares every live view.
func (v *Verifier) Run(ctx context.Context) (all []Verified, differences []verify.Difference, err error) {
	gs, err := v.Store.All(ctx)
	if err != nil {
		return nil, nil, err
	}
	var views []*one
	for i := range gs {
		if !gs[i].Live || gs[i].Journal != v.Source.ID() {
			continue
		}
		shot, ok, err := v.Store.Snapshot(ctx, gs[i].View)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			fold := declared.New(shot.Definition)
			views = append(views, &one{shot, fold, declared.NewRecount(fold)})
		}
	}
	if len(views) == 0 {
		return nil, nil, nil
	}
	for p := range v.Source.Partitions() {
		if err := v.partition(ctx, p, views); err != nil {
			return nil, nil, err
		}
	}
	for _, w := range views {
		wrong := w.recount.Compare(w.Rows)
		r := Verified{View: w.View}
		r.Rows = max(len(w.Rows), w.recount.Len())
		r.Equal, r.Differences = r.Rows-len(wrong), len(wrong)
		if v.Bucket != nil {
			more, err := v.Bucket(ctx, &w.Snapshot)
			if err != nil {
				return nil, nil, fmt.Errorf("read the bucket of view %s: %w", w.View, err)
			}
			for _, m := range more {
				wrong = append(wrong, declared.Mismatch{Key: m.Key, What: "bucket " + w.Definition.Bucket() + ": " + m.What})
			}
			r.Differences += len(more)
		}
		for _, m := range wrong {
			differences = append(differences, verify.Difference{Tier: ViewPrefix + w.View, Key: m.Key, What: m.What})
		}
		all = append(all, r)
	}
	return all, differences, nil
}

// partition folds one partition for every view, as far as each has read it.
func (v *Verifier) partition(ctx context.Context, p int, views []*one) error {
	last := uint64(0)
	for _, w := range views {
		if p < len(w.Positions) {
			last = max(last, w.Positions[p])
		}
	}
	if last == 0 {
		return nil
	}
	cur, err := v.Source.Read(ctx, p, 0)
	if err != nil {
		return err
	}
	defer cur.Stop()
	for {
		select {
		case m, open := <-cur.Messages():
			switch {
			case !open:
				return fmt.Errorf("read partition %d: %w", p, cur.Err())
			case m.Revision > last: // the event at the position itself may be trimmed
				return nil
			}
			for _, w := range views {
				w.add(&m, v.Exclude)
			}
			if m.Revision == last {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// add folds a message that the view has read.
func (w *one) add(m *history.Message, exclude func(string, events.AggregateName, uint64) bool) {
	if m.Revision > w.Positions[m.Partition] || !w.fold.Covers(m.Name) {
		return
	}
	excluded := m.Bad != nil || exclude != nil && exclude(ViewPrefix+w.View, m.Name, m.Revision)
	if w.fold.Messages() {
		if excluded {
			return
		}
		if c, ok, err := w.fold.Message(&m.Record); ok && err == nil {
			w.recount.Add(c)
		}
		return
	}
	if excluded {
		w.recount.Add(declared.Change{Key: declared.KeyOf(m.Name), Gone: true})
		return
	}
	c := projections.Fold([]history.Message{*m})
	for i := range c.Entries {
		w.recount.Add(w.fold.Entry(&c.Entries[i]))
	}
	for i := range c.Docs {
		w.recount.Add(w.fold.Doc(&c.Docs[i]))
	}
}
