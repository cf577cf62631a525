package projections

import (
	"context"
	"slices"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// RowStates are the rows of some streams as their last events leave them, all losing writes, and
// the streams without an event. Streams whose last event cannot be folded are in Poison.
type RowStates struct {
	Changes
	Absent []events.AggregateName // streams without an event
}

// StateOf reads the journal's leader. A caller that reads a row's guard first, and writes the
// answer under that guard, never replaces a newer row with an older one.
func StateOf(ctx context.Context, h *history.History, streams []events.AggregateName) (RowStates, error) {
	ends, err := h.Ends(ctx, streams, history.Bound{}, history.Linearizable)
	if err != nil {
		return RowStates{}, err
	}
	var states RowStates
	found := make([]history.Message, 0, len(ends))
	for i := range ends {
		kind, _, _ := readmodel.RowOf(streams[i])
		switch {
		case ends[i].Bad == nil && ends[i].Type == "":
			states.Absent = append(states.Absent, streams[i])
		case kind != readmodel.KindConflict:
			found = append(found, ends[i])
		default:
			err := h.Of(ctx, streams[i], 0, 0, func(m history.Message) error {
				found = append(found, m)
				return nil
			})
			if err != nil {
				return RowStates{}, err
			}
		}
	}
	states.Changes = Fold(found)
	for i := range states.Poison { // an incomplete list of losing writes is not used
		s := states.Poison[i].Name
		states.Losses = slices.DeleteFunc(states.Losses, func(l readmodel.Loss) bool { return events.EntryConflicts(l.Agent, l.Key) == s })
	}
	return states, nil
}
