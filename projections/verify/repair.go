package verify

import (
	"context"
	"slices"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Mend restores what differs, from the journal: rows by their tier, archived
// events where the journal still has the original. What it cannot is left as
// it is, and a later look finds it.
func Repair(ctx context.Context, journal Journal, archive Archive, tiers []Tier, differences []Difference) error {
	streams, lost := map[string][]events.Stream{}, map[int][]uint64{}
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
		if err := mendArchive(ctx, journal, archive, p, slices.Compact(revisions)); err != nil {
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

// Revisions with no more than mendGap between them are read together; mendPage
// events are restored at a time, or fewer where they are mendBytes.
const (
	mendGap   = 64
	mendPage  = 500
	mendBytes = 32 << 20
)

// mendArchive restores a partition's events, whose revisions come in order.
func mendArchive(ctx context.Context, journal Journal, archive Archive, partition int, revisions []uint64) error {
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
		for n < len(revisions) && revisions[n]-revisions[n-1] <= mendGap {
			n++
		}
		run := revisions[:n]
		err := between(ctx, journal, partition, run[0]-1, run[n-1], func(m history.Message) error {
			if _, wanted := slices.BinarySearch(run, m.Revision); !wanted {
				return nil
			}
			page, size = append(page, m), size+len(m.Body)
			if len(page) < mendPage && size < mendBytes {
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
