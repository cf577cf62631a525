package history

import (
	"context"
	"fmt"

	"github.com/tidemark-engine/tidemark/events"
)

// AtVersion returns the event that gave an aggregate a version, and the aggregate's last
// version; ok is false when there is no such version. It costs one request for each halving
// of the journal; trimmed versions are searched page by page in the archive.
func (h *History) AtVersion(ctx context.Context, name events.AggregateName, version uint64) (rec events.Record, last uint64, ok bool, err error) {
	end, ok, err := h.Last(ctx, name, Linearizable)
	if err != nil || !ok || version == 0 || version > end.Version {
		return rec, end.Version, false, err
	}
	if version == end.Version {
		return end, end.Version, true, nil
	}
	first, err := h.first(ctx, name)
	if err != nil {
		return rec, end.Version, false, err
	}
	if version < first.Version {
		rec, err = h.archivedVersion(ctx, name, version, first.Revision)
		return rec, end.Version, err == nil, err
	}
	if version == first.Version {
		return first, end.Version, true, nil
	}
	for from, high := first.Revision, end.Revision; high-from > 1; { // the version is after from and before high
		mid := from + (high-from)/2
		rec, ok, err := h.lastUpTo(ctx, name, Bound{Revision: mid})
		switch {
		case err != nil:
			return rec, end.Version, false, err
		case !ok: // trimmed meanwhile
			return rec, end.Version, false, errBehind
		case rec.Version == version:
			return rec, end.Version, true, nil
		case rec.Version < version:
			from = mid
		default:
			high = rec.Revision
		}
	}
	return rec, end.Version, false, errBehind
}

// archivedVersion reads a version that was trimmed from the archive; below is a revision
// after it.
func (h *History) archivedVersion(ctx context.Context, name events.AggregateName, version, below uint64) (rec events.Record, err error) {
	p := h.Partition(name.ID())
	cut, _, err := h.Trimmed(ctx, p)
	if err != nil {
		return rec, err
	}
	upTo := below - 1
	if cut > 0 {
		upTo = min(upTo, cut)
	}
	if err := h.holds(ctx, p, upTo); err != nil {
		return rec, err
	}
	for {
		page, err := h.archive.Back(ctx, p, name, below, archivedAtOnce)
		if err != nil {
			return rec, unreadable("archive.unavailable", p, upTo, err)
		}
		for i := range page {
			if page[i].Version == version {
				return page[i], nil
			}
			below = page[i].Revision
		}
		if len(page) == 0 || below == 0 {
			return rec, unreadable("archive.incomplete", p, upTo, fmt.Errorf("version %d of %s is missing there", version, name))
		}
	}
}
