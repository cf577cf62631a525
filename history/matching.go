package history

import (
	"context"
	"slices"

	"github.com/tidemark-engine/tidemark/events"
)

// Matching yields the entries of a partition after one revision, up to another, whose
// names one of patterns matches, until yield fails. What was trimmed must be in the
// archive, without gaps. The entries of one pattern come in order, but for those that a
// trim takes while they are read, which come last.
func (h *History) Matching(ctx context.Context, partition int, patterns []events.AggregateName, after, upTo uint64, yield func(Message) error) error {
	if upTo <= after {
		return nil
	}
	yielded := map[uint64]bool{} // from the journal
	fromArchive := func(after uint64) (archived uint64, err error) {
		if archived, err = h.trimmed(ctx, partition, after, upTo); err != nil || archived == 0 {
			return 0, err
		}
		return archived, h.fromArchive(ctx, partition, after, archived, func(m Message) error {
			if yielded[m.Revision] || !slices.ContainsFunc(patterns, func(p events.AggregateName) bool { return events.Pattern(p).Matches(m.Name) }) {
				return nil
			}
			return yield(m)
		})
	}
	archived, err := fromArchive(after)
	if err != nil {
		return err
	}
	if after = max(after, archived); upTo <= after {
		return nil
	}
	for _, p := range patterns {
		err := h.Range(ctx, Range{Partition: partition, Aggregate: p, After: after, UpTo: upTo}, func(m Message) error {
			yielded[m.Revision] = true
			return yield(m)
		})
		if err != nil {
			return err
		}
	}
	_, err = fromArchive(after)
	return err
}
