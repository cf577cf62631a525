package claim_test

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/events"
)

func TestLaws(t *testing.T) {
	domaintest.Aggregate[claim.Claim, claim.Command]{
		Evolve:  claim.Evolve,
		Decide:  claim.Decide,
		Command: draw,
		Load:    domain.CarriedState[claim.Claim],
		Types: []string{
			events.ClaimAcquired, events.ClaimRenewed, events.ClaimReleased, events.ClaimExpired, events.ClaimErased,
		},
	}.Laws(t)
}

// TestOneHolder drives a claim with commands of several owners and a clock that goes on:
// there is one holder at a time, a new one only after a release or the end of the lease,
// fences rise, and only the holder renews and releases.
func TestOneHolder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c claim.Claim
		version, highest := uint64(0), uint64(0)
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		fences := map[string]uint64{} // by owner, of its last acquisition
		for range rapid.IntRange(1, 40).Draw(t, "commands") {
			now = now.Add(time.Duration(rapid.Int64Range(0, 3_000_000_000).Draw(t, "pause")))
			cmd, before := draw(t), c
			if known, ok := fences[cmd.Owner]; ok && rapid.Bool().Draw(t, "own fence") {
				cmd.Fence = known
			}
			d := claim.Decide(c, cmd, domain.Metadata{Now: now, Version: version})
			for i := range d.Events {
				version++
				next, err := claim.Evolve(c, &d.Events[i])
				if err != nil {
					t.Fatal(err)
				}
				if c = next; d.Events[i].Type == events.ClaimAcquired {
					if c.Fence != version || c.Fence <= highest {
						t.Fatalf("acquired at version %d with the fence %d after %d", version, c.Fence, highest)
					}
					highest, fences[c.Owner] = c.Fence, c.Fence
				}
			}
			held := before.HeldAt(now)
			switch {
			case held && c.Owner != before.Owner:
				t.Fatalf("%s took the claim from %s, which held it until %s", c.Owner, before.Owner, before.ExpiresAt)
			case held && !c.HeldAt(now) && (cmd.Type != events.ClaimReleased || cmd.Owner != before.Owner || cmd.Fence < before.Fence):
				t.Fatalf("%s with the fence %d ended the claim of %s with the fence %d", cmd.Owner, cmd.Fence, before.Owner, before.Fence)
			case !held && cmd.Type == events.ClaimRenewed && d.Refusal == nil:
				t.Fatal("a claim that is not held was renewed")
			case cmd.Type == events.ClaimAcquired && d.Refusal == nil && (!c.HeldAt(now) || c.Owner != cmd.Owner):
				t.Fatalf("%s acquired the claim and does not hold it: %+v", cmd.Owner, c)
			}
		}
	})
}

// Erasing releases what is held and leaves no content.
func TestErased(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for from, want := range map[claim.Status]claim.Status{
		claim.Held: claim.Released, claim.Released: claim.Released, claim.Expired: claim.Expired,
	} {
		full := claim.Claim{Status: from, Owner: "a1", Fence: 1, Data: jsontext.Value(`1`)}
		owner, outline := full.Outline()
		erased, err := claim.Evolve(full, &events.Event{Type: events.ClaimErased, Timestamp: at})
		if err != nil || owner != "a1" || outline.Status != from || outline.Data != nil || erased.Status != want || erased.Data != nil ||
			(from != want) != erased.EndedAt.Equal(at) {
			t.Errorf("%s: outline %+v of %s, erased %+v, %v", from, outline, owner, erased, err)
		}
	}
}

func draw(t *rapid.T) claim.Command {
	c := claim.Command{
		ID: "c1", Request: "r", Owner: rapid.SampledFrom([]string{"o", "p", "q"}).Draw(t, "owner"), Fence: rapid.Uint64Range(0, 9).Draw(t, "fence"),
		Type: rapid.SampledFrom([]string{events.ClaimAcquired, events.ClaimAcquired, events.ClaimRenewed, events.ClaimReleased, events.ClaimExpired}).Draw(t, "type"),
	}
	if rapid.Bool().Draw(t, "leased") {
		lease := rapid.Int64Range(1, 5000).Draw(t, "lease")
		c.LeaseMS = &lease
	}
	if c.Type == events.ClaimAcquired {
		c.Data = jsontext.Value(rapid.SampledFrom([]string{"", `null`, `1.50`, `{"a":"\u0041"}`}).Draw(t, "data"))
	}
	if len(c.Data) == 0 {
		c.Data = nil
	}
	return c
}
