package projections

import (
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

const (
	// maxTraced bounds the traces of one batch that get a span.
	maxTraced = 128
	// tracedAge is the age of an event from which on it gets no span: its trace has ended
	// long ago, for example where a view is folded again.
	tracedAge = time.Hour
)

// traceBatch records a batch that was written since a time, for its sampled events: a span in the
// trace of each, and one for the batch that they share.
func (r *Runner) traceBatch(batch []history.Message, began time.Time) {
	if r.Trace == nil {
		return
	}
	var contexts []trace.Context
	var revisions []uint64
	for i := range batch {
		m := &batch[i]
		c := trace.Context{Parent: m.TraceParent, State: m.TraceState}
		if !c.Sampled() || m.Bad != nil || began.Sub(m.RecordedAt) > tracedAge || r.excludes(m) {
			continue
		}
		if n := len(contexts); n > 0 && contexts[n-1].Parent == c.Parent {
			continue // the same request
		}
		if contexts, revisions = append(contexts, c), append(revisions, m.Revision); len(contexts) == maxTraced {
			break
		}
	}
	if len(contexts) == 0 {
		return
	}
	whole := r.Trace.Batch("batch "+r.View, began, contexts)
	whole.Int("tidemark.events", int64(len(batch)))
	r.describe(whole)
	whole.End()
	for i, c := range contexts {
		span := r.Trace.Since(c, "view "+r.View, began, whole)
		span.Int("tidemark.revision", int64(revisions[i])) //nolint:gosec // a sequence of a stream fits
		r.describe(span)
		span.End()
	}
}

func (r *Runner) describe(span trace.Span) {
	span.Text("tidemark.view", r.View)
	span.Int("tidemark.partition", int64(r.Partition))
}
