package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
)

// The state that an event carries is what the build that wrote it made of the
// aggregate's past. Where this build's fold makes something else of the same
// events, that state is not trusted: the aggregate is folded anew, once, and its
// next event carries the new state.

// fold is how an aggregate's state comes of its events.
type fold[S any] struct {
	evolve func(S, *events.Event) (S, error)
	// since is the schema since which evolve makes the same state of the same
	// events, see docs/adr/0009.
	since int
}

var (
	taskFold      = fold[task.Task]{task.Evolve, 1}
	sessionFold   = fold[session.Session]{session.Evolve, 1}
	lifecycleFold = fold[agent.Lifecycle]{agent.EvolveLifecycle, 1}
)

// carried is the state from the last event alone; errRefold where it must come
// of all of them.
func (f fold[S]) carried(ev *events.Event) (any, error) {
	if ev.Stored().Schema >= f.since {
		return domain.Carried[S](ev)
	}
	return nil, &refold{func(state any, ev *events.Event) (any, error) {
		known, _ := state.(S) // nil before the first event: the zero state
		return f.evolve(known, ev)
	}}
}

// refold is the error of a carried state that is not trusted, with the fold to
// be used instead.
type refold struct {
	evolve func(state any, ev *events.Event) (any, error)
}

var errRefold = errors.New("the carried state is of an older fold")

func (*refold) Error() string   { return errRefold.Error() }
func (*refold) Is(t error) bool { return t == errRefold }

// refold is the head of a stream that ends with rec, from all of its events.
func (h *Handler) refold(ctx context.Context, rec *events.Record, why error) (*head, error) {
	var old *refold
	if !errors.As(why, &old) {
		return nil, why
	}
	var state any
	var folded uint64
	var bad error
	err := h.journal.Since(ctx, rec.Stream, time.Unix(0, 0), func(r events.Record) bool {
		if bad == nil && r.Version == folded+1 && folded < rec.Version {
			state, bad = old.evolve(state, &r.Event)
			folded = r.Version
		}
		return bad == nil && folded < rec.Version
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("fold %s anew: %w", rec.Stream, err)
	}
	if folded != rec.Version {
		return nil, domain.Errorf(domain.Unavailable, "journal.trimmed",
			"%s carries a state of an older build, and its events after version %d are not in the journal to fold it anew: "+
				"import its archive into a new engine", rec.Stream, folded)
	}
	return headOf(rec, func(*events.Event) (any, error) { return state, nil })
}
