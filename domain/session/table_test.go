package session_test

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/events"
)

// TestEveryTransition takes each command in each status, and an open session
// before and after its end.
func TestEveryTransition(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	commands := []session.Command{
		{ID: "s", Type: events.SessionOpened, Data: events.SessionOpen{Owner: "o", TTL: 60}, Owner: "o"},
		{ID: "s", Type: events.SessionOpened, Data: events.SessionOpen{Owner: "p", TTL: 60}, Owner: "p"},
		{ID: "s", Type: events.SessionPut, Data: events.SessionWrite{Key: "k", Value: jsontext.Value("1")}, Key: "k", Bytes: 2},
		{ID: "s", Type: events.SessionTouched, Data: events.Plain{}},
		{ID: "s", Type: events.SessionClosed, Data: events.Plain{}},
		{ID: "s", Type: events.SessionExpired, Data: events.Plain{}},
	}
	const is, none = "unchanged", "session.not_found"
	for name, row := range map[string]struct {
		state session.Session
		want  [6]string // in the order of the commands
	}{
		"never opened": {session.Session{}, [6]string{"open", "open", none, none, none, none}},
		"open":         {session.Session{Status: session.Open, Owner: "o", TTL: 60, ExpiresAt: now.Add(time.Second)}, [6]string{is, "session.exists", "open", "open", "closed", is}},
		"over":         {session.Session{Status: session.Open, Owner: "o", TTL: 60, ExpiresAt: now}, [6]string{"session.exists", "session.exists", "session.expired", "session.expired", "session.expired", "expired"}},
		"closed":       {session.Session{Status: session.Closed, Owner: "o", TTL: 60}, [6]string{"session.exists", "session.exists", "session.closed", "session.closed", is, is}},
		"expired":      {session.Session{Status: session.Expired, Owner: "o", TTL: 60}, [6]string{"session.exists", "session.exists", "session.expired", "session.expired", "session.expired", is}},
	} {
		for i, c := range commands {
			d := session.Decide(row.state, c, domain.Metadata{Now: now, CommandID: "c"})
			got := string(d.Outcome)
			switch {
			case d.Refusal != nil:
				got = d.Refusal.Code
				if d.Refusal.Kind != domain.Rejected && d.Refusal.Kind != domain.NotFound {
					t.Errorf("%s and %s: refused as %s", name, c.Type, d.Refusal.Kind)
				}
			case len(d.Events) == 1:
				after, err := domain.CarriedState[session.Session](&d.Events[0])
				if err != nil {
					t.Fatal(err)
				}
				got = string(after.Status)
			}
			if got != row.want[i] {
				t.Errorf("%s and %s by %q: %s, want %s", name, c.Type, c.Owner, got, row.want[i])
			}
		}
	}
}

// TestSizeCountsAKeyOnce: putting a key again replaces what it weighed.
func TestSizeCountsAKeyOnce(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := session.Session{Status: session.Open, TTL: 60, ExpiresAt: now.Add(time.Hour), Data: map[string]jsontext.Value{"k": jsontext.Value("12345678")}}
	c := session.Command{ID: "s", Type: events.SessionPut, Data: events.SessionWrite{Key: "k", Value: jsontext.Value("87654321")}, Key: "k", Bytes: 9, Limit: 10}
	if d := session.Decide(s, c, domain.Metadata{Now: now}); d.Refusal != nil {
		t.Errorf("the same key again: %v", d.Refusal)
	}
	if c.Key = "l"; session.Decide(s, c, domain.Metadata{Now: now}).Refusal == nil {
		t.Error("another key over the limit was taken")
	}
}
