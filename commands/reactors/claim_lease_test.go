package reactors_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestClaimDue: the state of the claim and the clock decide what its timer does.
func TestClaimDue(t *testing.T) {
	end := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	for _, c := range []struct {
		name   string
		timer  string
		status claim.Status // empty = there is no such claim
		end    time.Time
		now    time.Time
		sent   bool
		again  time.Time // the timer is set again
	}{
		{"held", "claim.c1", claim.Held, end, end, true, time.Time{}},
		{"late", "claim.c1", claim.Held, end, end.Add(time.Hour), true, time.Time{}},
		{"a nanosecond early", "claim.c1", claim.Held, end, end.Add(-1), false, end},
		{"released", "claim.c1", claim.Released, end, end, false, time.Time{}},
		{"expired", "claim.c1", claim.Expired, end, end, false, time.Time{}},
		{"without a lease", "claim.c1", claim.Held, time.Time{}, end, false, time.Time{}},
		{"no such claim", "claim.c1", "", end, end, false, time.Time{}},
		{"no id", "claim.c1.more", claim.Held, end, end, false, time.Time{}},
		{"nothing", "claim.", claim.Held, end, end, false, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			state, err := json.Marshal(claim.Claim{Status: c.status, Owner: "o", ExpiresAt: c.end})
			harness.Must(t, err)
			last := func(_ context.Context, name events.AggregateName) (events.Record, bool, error) {
				if name != events.Claim("c1") {
					t.Errorf("read %s", name)
				}
				return events.Record{Event: events.Event{State: state, Version: 4}}, c.status != "", nil
			}
			var sent []commands.Request
			send := func(_ context.Context, req commands.Request) (commands.Receipt, error) {
				sent = append(sent, req)
				return commands.Receipt{}, nil
			}
			set := timers{}
			for range 2 { // a timer may be delivered twice
				harness.Must(t, reactors.Due(t.Context(), last, set, send, func() time.Time { return c.now }, c.timer))
			}
			switch {
			case !c.sent && len(sent) > 0:
				t.Errorf("sent %+v", sent)
			case c.sent && (len(sent) != 2 || sent[0].Verb != "expire" || !sent[0].Internal || sent[0].CommandID != sent[1].CommandID):
				t.Errorf("sent %+v, want an expiry twice under one id", sent)
			}
			if !set[c.timer].Equal(c.again) {
				t.Errorf("set for %s, want %s", set[c.timer], c.again)
			}
			rec := events.Record{Event: events.Event{Aggregate: "claim", ID: "c1", State: state}}
			armed, err := reactors.Rearm(t.Context(), timers{}, &rec)
			if err != nil || armed != (c.status == claim.Held && !c.end.IsZero()) {
				t.Errorf("rearmed %v, %v", armed, err)
			}
		})
	}
}
