package reactors

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/events"
)

// claimTimer is the prefix of the names of the timers of claims.
const claimTimer = "claim."

// ClaimLease sets a timer for every claim that gets a lease.
func ClaimLease(timers Timers) Reactor {
	return Reactor{
		Name: "lease", Types: []string{events.ClaimAcquired, events.ClaimRenewed}, Subjects: []string{"claim.>"},
		React: func(ctx context.Context, rec events.Record, _ Send) error {
			_, err := rearmClaim(ctx, timers, &rec)
			return err
		},
	}
}

// claimDue ends the lease of a claim if it has run out. The claim and the clock decide,
// not the message.
func claimDue(ctx context.Context, last LastEvent, timers Timers, send Send, now func() time.Time, id string) error {
	if domain.CheckID("claim id", id) != nil {
		return nil
	}
	rec, ok, err := last(ctx, events.Claim(id))
	if err != nil || !ok {
		return err
	}
	var c claim.Claim
	if err := json.Unmarshal(rec.State, &c); err != nil {
		return fmt.Errorf("read the state of claim %s: %w", id, err)
	}
	if c.Status != claim.Held || c.ExpiresAt.IsZero() {
		return nil
	}
	if now().Before(c.ExpiresAt) {
		return timers.Set(ctx, claimTimer+id, c.ExpiresAt)
	}
	_, err = send(ctx, commands.Request{
		Aggregate: "claim", ID: id, Verb: "expire", Internal: true,
		CommandID: derivedID(c.ExpiresAt, "lease", id, strconv.FormatUint(rec.Version, 10)),
	})
	return err
}

// rearmClaim sets the timer of a claim that is held with a lease; set reports whether it
// is.
func rearmClaim(ctx context.Context, timers Timers, rec *events.Record) (set bool, err error) {
	var c claim.Claim
	if err := json.Unmarshal(rec.State, &c); err != nil || c.Status != claim.Held || c.ExpiresAt.IsZero() {
		return false, nil // an unreadable state has no lease
	}
	return true, timers.Set(ctx, claimTimer+rec.ID, c.ExpiresAt)
}
