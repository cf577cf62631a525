package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/domain/inbox"
	"github.com/tidemark-engine/tidemark/domain/reminder"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
)

// An event carries the state that the build which wrote it computed. If this
// build's fold computes another state from the same events, the carried state is
// not used: the aggregate is folded from its first event, and its next event
// carries the new state (docs/adr/0009).

// fold is how an aggregate's state is computed from its events.
type fold[S any] struct {
	evolve func(S, *events.Event) (S, error)
	// since is the schema from which evolve has computed the same states as today.
	since int
}

var (
	taskFold      = fold[task.Task]{task.Evolve, 1}
	reminderFold  = fold[reminder.Reminder]{reminder.Evolve, 1}
	sessionFold   = fold[session.Session]{session.Evolve, 1}
	claimFold     = fold[claim.Claim]{claim.Evolve, 1}
	inboxFold     = fold[inbox.Inbox]{inbox.Evolve, 1}
	viewFold      = fold[view.View]{view.Evolve, 1}
	lifecycleFold = fold[agent.Lifecycle]{agent.EvolveLifecycle, 1}
)

// carried is the state that the last event carries; errRefold if an older fold
// computed it.
func (f fold[S]) carried(ev *events.Event) (any, error) {
	if ev.Stored().Schema >= f.since {
		return domain.CarriedState[S](ev)
	}
	return nil, &refold{func(state any, ev *events.Event) (any, error) {
		known, _ := state.(S) // nil before the first event: the zero state
		return f.evolve(known, ev)
	}}
}

// refold is the error of a carried state that an older fold computed, with the
// fold to use instead.
type refold struct {
	evolve func(state any, ev *events.Event) (any, error)
}

var errRefold = errors.New("an older fold computed the carried state")

func (*refold) Error() string   { return errRefold.Error() }
func (*refold) Is(t error) bool { return t == errRefold }

// refold computes the head of the aggregate that ends with rec from all of its
// events.
func (h *Handler) refold(ctx context.Context, rec *events.Record, reason error) (*head, error) {
	var older *refold
	if !errors.As(reason, &older) {
		return nil, reason
	}
	var state any
	var folded uint64
	var failed error
	err := h.journal.Since(ctx, rec.Name, time.Unix(0, 0), func(r events.Record) bool {
		if failed == nil && r.Version == folded+1 && folded < rec.Version {
			state, failed = older.evolve(state, &r.Event)
			folded = r.Version
		}
		return failed == nil && folded < rec.Version
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("fold %s from its first event: %w", rec.Name, err)
	}
	if folded != rec.Version {
		return nil, domain.Errorf(domain.Unavailable, "journal.trimmed",
			"%s carries a state of an older build and must be folded from its first event, but its events after version %d are not in the journal: "+
				"import its archive into a new engine", rec.Name, folded)
	}
	return headOf(rec, func(*events.Event) (any, error) { return state, nil })
}
