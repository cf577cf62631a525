package session_test

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/events"
)

func TestLaws(t *testing.T) {
	domaintest.Aggregate[session.Session, session.Command]{
		Evolve:  session.Evolve,
		Decide:  session.Decide,
		Command: draw,
		Load:    domain.CarriedState[session.Session],
		Types: []string{
			events.SessionOpened, events.SessionPut, events.SessionTouched, events.SessionClosed, events.SessionExpired,
			events.SessionErased,
		},
	}.Laws(t)
}

// Erasing closes a session that is open and leaves no content.
func TestErased(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for from, want := range map[session.Status]session.Status{
		session.Open: session.Closed, session.Closed: session.Closed, session.Expired: session.Expired,
	} {
		full := session.Session{Status: from, Owner: "a1", TTL: 60, Data: map[string]jsontext.Value{"k": jsontext.Value(`1`)}}
		owner, outline := full.Outline()
		erased, err := session.Evolve(full, &events.Event{Type: events.SessionErased, Timestamp: at})
		if err != nil || owner != "a1" || outline.Status != from || outline.Data != nil || erased.Status != want || erased.Data != nil ||
			(from != want) != erased.EndedAt.Equal(at) {
			t.Errorf("%s: outline %+v of %s, erased %+v, %v", from, outline, owner, erased, err)
		}
	}
}

func draw(t *rapid.T) session.Command {
	c := session.Command{ID: "s1", Limit: 40}
	switch rapid.IntRange(0, 5).Draw(t, "verb") {
	case 0:
		c.Owner = rapid.SampledFrom([]string{"o", "p"}).Draw(t, "owner")
		c.Type, c.Data = events.SessionOpened, events.SessionOpen{Owner: c.Owner, TTL: rapid.Int64Range(1, 7200).Draw(t, "ttl"), Request: "r"}
	case 1, 2:
		key := rapid.SampledFrom([]string{"k", "l.m"}).Draw(t, "key")
		value := []byte(rapid.SampledFrom([]string{`null`, `1.50`, `{"a":"\u0041"}`, `"0123456789"`}).Draw(t, "value"))
		c.Type, c.Data, c.Bytes = events.SessionPut, events.SessionWrite{Key: key, Value: value, Request: "r"}, len(key)+len(value)
	case 3:
		c.Type, c.Data = events.SessionTouched, events.Plain{Request: "r"}
	case 4:
		c.Type, c.Data = events.SessionClosed, events.Plain{Request: "r"}
	case 5:
		c.Type, c.Data = events.SessionExpired, events.Plain{Request: "r"}
	}
	return c
}
