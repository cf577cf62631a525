package history

import (
	"context"
	"slices"
	"strings"

	"github.com/tidemark-engine/tidemark/events"
)

// Matching yields the entries of a partition after one revision, up to another, whose
// names one of patterns matches, until yield fails. What was trimmed must be in the
// archive, without gaps. The entries of one pattern come in order.
func (h *History) Matching(ctx context.Context, partition int, patterns []events.AggregateName, after, upTo uint64, yield func(Message) error) error {
	if upTo <= after {
		return nil
	}
	archived, err := h.trimmed(ctx, partition, after, upTo)
	if err != nil {
		return err
	}
	if archived > 0 {
		err := h.fromArchive(ctx, partition, after, archived, func(m Message) error {
			if !slices.ContainsFunc(patterns, func(p events.AggregateName) bool {
				return strings.HasPrefix(string(m.Name), strings.TrimSuffix(string(p), ">"))
			}) {
				return nil
			}
			return yield(m)
		})
		if err != nil {
			return err
		}
		after = archived
	}
	for _, p := range patterns {
		if upTo <= after {
			break
		}
		if err := h.Range(ctx, Range{Partition: partition, Aggregate: p, After: after, UpTo: upTo}, yield); err != nil {
			return err
		}
	}
	return nil
}
