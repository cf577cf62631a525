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
func StateOf(ctx context.Context, t history.Truth, streams []events.Stream) (Said, error) {
	ends, err := t.Journal.Ends(ctx, streams)
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
			all, err := t.All(ctx, streams[i])
			if err != nil {
				return Said{}, err
			}
			found = append(found, all...)
		}
	}
	said.Changes = Fold(found)
	for i := range said.Poison { // some losing writes are not all
		s := said.Poison[i].Stream
		said.Losses = slices.DeleteFunc(said.Losses, func(l readmodel.Loss) bool { return events.EntryConflicts(l.Agent, l.Key) == s })
	}
	return said, nil
}
