package durable

import (
	"context"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Living returns the revisions of an agent's events before its erasure whose content is
// readable all the same: they were written while the erasure was under way, with another key.
type Living func(ctx context.Context, erased *events.Record) ([]int64, error)

// LivingIn finds them in a history: those of losing writes and messages, and with entries also
// those of entries and configuration. It reads the journal beyond its trim mark: an erasure is
// younger when its rows go, and the archive would have to be read as a whole.
func LivingIn(h *history.History, entries bool) Living {
	return func(ctx context.Context, erased *events.Record) (living []int64, err error) {
		id := erased.ID
		patterns := []events.AggregateName{events.EntryConflicts(id, ">"), events.Sent(id)}
		if entries {
			patterns = append(patterns, events.AgentStates(id), events.Config(id, ">"))
		}
		living = []int64{}
		cut, _, err := h.Trimmed(ctx, erased.Partition)
		for _, pattern := range patterns {
			if err != nil || cut >= erased.Revision {
				break
			}
			err = h.Range(ctx, history.Range{Partition: erased.Partition, Aggregate: pattern, After: cut, UpTo: erased.Revision}, func(m history.Message) error {
				switch m.Type {
				case events.StateSet, events.ConfigSet, events.StateSuperseded, events.StateRejected, events.MessageSent:
					if m.Bad == nil && !m.Erased {
						living = append(living, int64(m.Revision))
					}
				}
				return nil
			})
		}
		return living, err
	}
}
