package projections

import (
	"context"
	"slices"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Said is what the journal says of some streams: the rows as their last events
// leave them, all losing writes, and the streams of which it says nothing.
// Those whose last event cannot be folded are in Poison.
type Said struct {
	Changes
	None []events.Stream
}

// StateOf asks the journal's leader. Who reads a guard of a row before, and writes
// the answer under it, never puts an older row over a newer one.
func StateOf(ctx context.Context, h *history.History, streams []events.Stream) (Said, error) {
	ends, err := h.Ends(ctx, streams, history.Bound{}, history.Linearizable)
	if err != nil {
		return Said{}, err
	}
	var said Said
	found := make([]history.Message, 0, len(ends))
	for i := range ends {
		kind, _, _ := readmodel.RowOf(streams[i])
		switch {
		case ends[i].Bad == nil && ends[i].Type == "":
			said.None = append(said.None, streams[i])
		case kind != readmodel.KindConflict:
			found = append(found, ends[i])
		default:
			err := h.Of(ctx, streams[i], 0, 0, func(m history.Message) error {
				found = append(found, m)
				return nil
			})
			if err != nil {
				return Said{}, err
			}
		}
	}
	said.Changes = Fold(found)
	for i := range said.Poison { // some losing writes are not all
		s := said.Poison[i].Stream
		said.Losses = slices.DeleteFunc(said.Losses, func(l readmodel.Loss) bool { return events.EntryConflicts(l.Agent, l.Key) == s })
	}
	return said, nil
}
