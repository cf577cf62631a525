package claim_test

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/events"
)

// TestEveryTransition takes each command in each status. The claim of o is at version 5,
// and o has acquired it at version 3.
func TestEveryTransition(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ms := int64(60_000)
	commands := []claim.Command{
		{Type: events.ClaimAcquired, Owner: "o", LeaseMS: &ms},
		{Type: events.ClaimAcquired, Owner: "o"},
		{Type: events.ClaimAcquired, Owner: "p", LeaseMS: &ms},
		{Type: events.ClaimRenewed, Owner: "o", Fence: 3},
		{Type: events.ClaimRenewed, Owner: "o", Fence: 5, LeaseMS: &ms},
		{Type: events.ClaimRenewed, Owner: "o", Fence: 2},
		{Type: events.ClaimRenewed, Owner: "o", Fence: 6},
		{Type: events.ClaimRenewed, Owner: "p", Fence: 3},
		{Type: events.ClaimReleased, Owner: "o", Fence: 3},
		{Type: events.ClaimReleased, Owner: "o", Fence: 2},
		{Type: events.ClaimReleased, Owner: "p", Fence: 3},
		{Type: events.ClaimExpired},
	}
	const same, none, held, fenced = "unchanged", "claim.not_found", "claim.held", "claim.fenced"
	open := claim.Claim{Status: claim.Held, Owner: "o", Fence: 3, AcquiredAt: now}
	leased, over, released, expired := open, open, open, open
	leased.LeaseMS, leased.ExpiresAt = 1000, now.Add(1)
	over.LeaseMS, over.ExpiresAt = 1000, now
	released.Status, expired.Status = claim.Released, claim.Expired
	for name, row := range map[string]struct {
		state claim.Claim
		want  [12]string // in the order of the commands: "<status> <owner> <events>", or the code of a refusal
	}{
		"never acquired": {claim.Claim{}, [12]string{"held o 1", "held o 1", "held p 1", none, none, none, none, none, none, none, none, same}},
		"without lease":  {open, [12]string{"held o 1", same, held, same, "held o 1", fenced, fenced, fenced, "released o 1", fenced, fenced, same}},
		"leased":         {leased, [12]string{"held o 1", "held o 1", held, "held o 1", "held o 1", fenced, fenced, fenced, "released o 1", fenced, fenced, same}},
		"over":           {over, [12]string{"held o 2", "held o 2", "held p 2", fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced, "expired o 1"}},
		"released":       {released, [12]string{"held o 1", "held o 1", "held p 1", fenced, fenced, fenced, fenced, fenced, same, fenced, fenced, same}},
		"expired":        {expired, [12]string{"held o 1", "held o 1", "held p 1", fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced, same}},
	} {
		for i, c := range commands {
			c.ID = "c"
			version := uint64(5)
			if row.state.Status == "" {
				version = 0
			}
			d := claim.Decide(row.state, c, domain.Metadata{Now: now, CommandID: "c", Version: version})
			got := string(d.Outcome)
			switch {
			case d.Refusal != nil:
				got = d.Refusal.Code
				if d.Refusal.Kind != domain.Conflict && d.Refusal.Kind != domain.NotFound {
					t.Errorf("%s and %s: refused as %s", name, c.Type, d.Refusal.Kind)
				}
			case len(d.Events) > 0:
				after, err := domain.CarriedState[claim.Claim](&d.Events[len(d.Events)-1])
				if err != nil {
					t.Fatal(err)
				}
				got = string(after.Status) + " " + after.Owner + " " + string(rune('0'+len(d.Events)))
			}
			if got != row.want[i] {
				t.Errorf("%s and %d, %s by %q with the fence %d: %s, want %s", name, i, c.Type, c.Owner, c.Fence, got, row.want[i])
			}
		}
	}
}

// The details of a refusal say who holds the claim, and until when if that is known.
func TestRefusalDetails(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := claim.Claim{Status: claim.Held, Owner: "o", Fence: 3, LeaseMS: 1000, ExpiresAt: now.Add(time.Second)}
	for _, cmd := range []claim.Command{
		{ID: "c", Type: events.ClaimAcquired, Owner: "p"}, {ID: "c", Type: events.ClaimRenewed, Owner: "p", Fence: 3},
	} {
		d := claim.Decide(c, cmd, domain.Metadata{Now: now, Version: 3})
		if d.Refusal == nil || d.Refusal.Details["owner"] != "o" || d.Refusal.Details["expires_at"] != "2026-01-02T03:04:06Z" {
			t.Errorf("%s: %v %v", cmd.Type, d.Refusal, d.Refusal.Details)
		}
	}
	c.ExpiresAt, c.LeaseMS = time.Time{}, 0
	d := claim.Decide(c, claim.Command{ID: "c", Type: events.ClaimAcquired, Owner: "p"}, domain.Metadata{Now: now, Version: 3})
	if _, ok := d.Refusal.Details["expires_at"]; ok {
		t.Errorf("a claim without a lease ends: %v", d.Refusal.Details)
	}
}

// An owner that acquires what it holds replaces the lease and the data; without data the
// data stays, and a lease that is left out ends.
func TestAcquireAgain(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ms := int64(500)
	c := claim.Claim{Status: claim.Held, Owner: "o", Fence: 1, Data: jsontext.Value(`{"a":1}`)}
	step := func(cmd claim.Command, want domain.Outcome) {
		t.Helper()
		cmd.ID, cmd.Owner, cmd.Type = "c", "o", events.ClaimAcquired
		d := claim.Decide(c, cmd, domain.Metadata{Now: now, Version: 1})
		if d.Outcome != want {
			t.Fatalf("%s %v, want %s", d.Outcome, d.Refusal, want)
		}
		for i := range d.Events {
			var err error
			if c, err = claim.Evolve(c, &d.Events[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	step(claim.Command{Data: jsontext.Value(`{ "a":1 }`)}, domain.Unchanged)
	step(claim.Command{LeaseMS: &ms}, domain.Accepted)
	if string(c.Data) != `{"a":1}` || c.LeaseMS != 500 || !c.ExpiresAt.Equal(now.Add(500*time.Millisecond)) || c.Fence != 1 {
		t.Errorf("%+v", c)
	}
	step(claim.Command{Data: jsontext.Value(`2`)}, domain.Accepted)
	if string(c.Data) != `2` || c.LeaseMS != 0 || !c.ExpiresAt.IsZero() || !c.HeldAt(now.AddDate(9, 0, 0)) {
		t.Errorf("%+v", c)
	}
}
