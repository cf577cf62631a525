package commands

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/events"
)

func sessionCommand(c session.Command, request request) (Command, error) {
	return bind("session", c.ID, "", events.Session(c.ID), request, sessionFold, c, session.Decide), domain.CheckID("session id", c.ID)
}

// maxSessionTTL is the longest TTL of a session, in seconds.
const maxSessionTTL = 30 * 24 * 3600

func readSessionOpen(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Owner *string `json:"owner"`
		TTL   *int64  `json:"ttl"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if in.Owner == nil {
		return Command{}, domain.MissingField("owner")
	}
	owner := *in.Owner
	if err := domain.CheckID("owner", owner); err != nil {
		return Command{}, err
	}
	ttl := int64(session.DefaultTTL / time.Second)
	asked := ""
	if in.TTL != nil {
		if ttl = *in.TTL; ttl < 1 || ttl > maxSessionTTL {
			return Command{}, domain.Errorf(domain.Invalid, "ttl.invalid", "ttl must be 1 to %d seconds, this is %d", maxSessionTTL, ttl)
		}
		asked = strconv.FormatInt(ttl, 10)
	}
	data := events.SessionOpen{Owner: owner, TTL: ttl, Request: fingerprint("open", owner, asked)}
	return sessionCommand(session.Command{ID: id, Type: events.SessionOpened, Data: data, Owner: owner}, request{print: data.Request})
}

func readSessionPut(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		Key   *string        `json:"key"`
		Value jsontext.Value `json:"value"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if in.Key == nil {
		return Command{}, domain.MissingField("key")
	}
	key := *in.Key
	if err := domain.CheckKey(key); err != nil {
		return Command{}, err
	}
	if len(in.Value) == 0 {
		return Command{}, domain.MissingField("value")
	}
	if err := b.checkSize("value", in.Value); err != nil {
		return Command{}, err
	}
	request := requestOf(in.Value, func(value string) string { return fingerprint("put", key, value) })
	data := events.SessionWrite{Key: key, Value: in.Value, Request: request.print}
	return sessionCommand(session.Command{
		ID: id, Type: events.SessionPut, Data: data, Key: key, Bytes: len(key) + len(in.Value), Limit: b.ValueBytes,
	}, request)
}

// readSessionChange reads a verb whose body is empty.
func readSessionChange(verb, typ string) verb {
	return func(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
		if err := domain.DecodeBody(body, &struct{}{}); err != nil {
			return Command{}, err
		}
		data := events.Plain{Request: fingerprint(verb)}
		return sessionCommand(session.Command{ID: id, Type: typ, Data: data}, request{print: data.Request})
	}
}
