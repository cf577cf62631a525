package projections

import (
	"context"

	"github.com/tidemark-engine/tidemark/events"
)

// Mend restores what differs, from the journal: rows by their tier, archived
// events where the journal still has the original. What it cannot is left as
// it is, and a later look finds it.
func Mend(ctx context.Context, journal Streams, archive Copy, tiers []Tier, differences []Difference) error {
	streams, asked := map[string][]events.Stream{}, map[[2]uint64]bool{}
	var lost []Message
	for _, d := range differences {
		if d.Tier != InArchive || archive == nil {
			if d.Stream != "" {
				streams[d.Tier] = append(streams[d.Tier], d.Stream)
			}
			continue
		}
		place := [2]uint64{uint64(d.Partition), d.Revision}
		if asked[place] || d.Revision == 0 {
			continue
		}
		asked[place] = true
		err := journal.Each(ctx, d.Partition, d.Revision-1, d.Revision, func(m Message) error {
			lost = append(lost, m)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(lost) > 0 {
		if err := archive.Restore(ctx, lost); err != nil {
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
