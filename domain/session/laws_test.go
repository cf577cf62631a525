package session_test

import (
	"testing"

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
		},
	}.Laws(t)
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
