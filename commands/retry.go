package commands

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// maxAttempts bounds the attempts at one command. Conflicts come from other
// engines only: inside one engine the mailbox prevents them.
const maxAttempts = 24

// retry calls attempt again after a conflict and after an append with an unknown
// outcome, with exponential backoff (2 ms to 64 ms, full jitter). Once an
// outcome was unknown, attempt is called with unsure set. Other errors are
// returned at once. Commands that compute commute with each other, so a conflict is no
// answer to them: they are attempted until the deadline of ctx.
func (h *Handler) retry(ctx context.Context, computes, unsure bool, attempt func(unsure bool) error) error {
	limit := maxAttempts
	if computes {
		limit = math.MaxInt
	}
	var pauses *backoff.ExponentialBackOff
	for n := range limit {
		if n > 0 {
			if pauses == nil {
				pauses = &backoff.ExponentialBackOff{
					InitialInterval: time.Millisecond, MaxInterval: 32 * time.Millisecond, Multiplier: 2, RandomizationFactor: 1,
				}
			}
			if wait.Sleep(ctx, pauses.NextBackOff()) != nil {
				break
			}
		}
		switch err := attempt(unsure); {
		case errors.Is(err, history.ErrConflict):
			h.stats.Conflicts.Add(1)
		case errors.Is(err, history.ErrOutcomeUnknown):
			unsure = true
		default:
			return err
		}
	}
	if unsure || ctx.Err() != nil {
		return unavailable(context.Cause(ctx), true)
	}
	return domain.Errorf(domain.Conflict, "state.contended", "other writers won %d times in a row", maxAttempts)
}

// retryLoaded is retry for a command whose attempts load its aggregate: what the cache has
// of it is dropped before the next one.
func (h *Handler) retryLoaded(ctx context.Context, cmd *Command, computes bool, attempt func(unsure bool) error) error {
	return h.retry(ctx, computes, false, func(unsure bool) error {
		err := attempt(unsure)
		if errors.Is(err, history.ErrConflict) || errors.Is(err, history.ErrOutcomeUnknown) {
			h.heads.drop(cmd.Name)
			return err
		}
		if err != nil {
			return unavailable(err, unsure)
		}
		return nil
	})
}

// unavailable is the answer to an error of the journal. unsure: an append of the
// command may have been stored.
func unavailable(err error, unsure bool) error {
	var known *domain.Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, events.ErrNewer) {
		return domain.Errorf(domain.Unavailable, "engine.older", "%v: run the build that wrote it, or a later one", err)
	}
	if unsure {
		return domain.Errorf(domain.Unavailable, "outcome.unknown",
			"the journal did not answer in time; send the same command id again (%v)", err)
	}
	return domain.Errorf(domain.Unavailable, "journal.unavailable",
		"the journal cannot be reached; send the same command id again (%v)", err)
}
