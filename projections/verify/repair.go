package verify

import (
	"context"
	"slices"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Repair restores differing data from the journal: rows through their tier, archived events where
// the journal still has the original. It leaves what it cannot restore, for the next verification
// to report.
func Repair(ctx context.Context, journal Journal, archive Archive, tiers []Tier, differences []Difference) error {
	streams, lost := map[string][]events.AggregateName{}, map[int][]uint64{}
	for _, d := range differences {
		switch {
		case d.Tier != InArchive || archive == nil:
			if d.Stream != "" {
				streams[d.Tier] = append(streams[d.Tier], d.Stream)
			}
		case d.Revision > 0:
			lost[d.Partition] = append(lost[d.Partition], d.Revision)
		}
	}
	for p, revisions := range lost {
		slices.Sort(revisions)
		if err := repairArchive(ctx, journal, archive, p, slices.Compact(revisions)); err != nil {
			return err
		}
	}
	for i := range tiers {
		if err := tiers[i].Restore(ctx, streams[tiers[i].Name]); err != nil {
			return err
		}
	}
	return nil
}

// Revisions with at most repairGap between them are read together; repairPage events are restored
// at a time, or fewer when they exceed repairBytes.
const (
	repairGap   = 64
	repairPage  = 500
	repairBytes = 32 << 20
)

// repairArchive restores the events of a partition; revisions are sorted.
func repairArchive(ctx context.Context, journal Journal, archive Archive, partition int, revisions []uint64) error {
	var page []history.Message
	size := 0
	restore := func() (err error) {
		if len(page) > 0 {
			err = archive.Restore(ctx, page)
		}
		page, size = page[:0], 0
		return err
	}
	for len(revisions) > 0 {
		n := 1
		for n < len(revisions) && revisions[n]-revisions[n-1] <= repairGap {
			n++
		}
		run := revisions[:n]
		err := readRange(ctx, journal, partition, run[0]-1, run[n-1], func(m history.Message) error {
			if _, wanted := slices.BinarySearch(run, m.Revision); !wanted {
				return nil
			}
			page, size = append(page, m), size+len(m.Body)
			if len(page) < repairPage && size < repairBytes {
				return nil
			}
			return restore()
		})
		if err != nil {
			return err
		}
		revisions = revisions[n:]
	}
	return restore()
}
