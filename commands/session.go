package commands

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/events"
)

func sessionCommand(c session.Command, request string) (Command, error) {
	return bind("session", c.ID, "", events.Session(c.ID), request, sessionFold, c, session.Decide), domain.CheckID("session id", c.ID)
}

// maxSessionTTL is the longest TTL of a session, in seconds.
const maxSessionTTL = 30 * 24 * 3600

func readSessionOpen(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Owner string `json:"owner"`
		TTL   *int64 `json:"ttl"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := domain.CheckID("owner", in.Owner); err != nil {
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
	data := events.SessionOpen{Owner: in.Owner, TTL: ttl, Request: fingerprint("open", in.Owner, asked)}
	return sessionCommand(session.Command{ID: id, Type: events.SessionOpened, Data: data, Owner: in.Owner}, data.Request)
}

func readSessionPut(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		Key   string         `json:"key"`
		Value jsontext.Value `json:"value"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := domain.CheckKey(in.Key); err != nil {
		return Command{}, err
	}
	if len(in.Value) == 0 {
		return Command{}, domain.Errorf(domain.Invalid, "body.missing_field", `"value" is missing`)
	}
	if err := b.checkSize("value", in.Value); err != nil {
		return Command{}, err
	}
	data := events.SessionWrite{Key: in.Key, Value: in.Value, Request: fingerprint("put", in.Key, string(in.Value))}
	return sessionCommand(session.Command{
		ID: id, Type: events.SessionPut, Data: data, Key: in.Key, Bytes: len(in.Key) + len(in.Value), Limit: b.ValueBytes,
	}, data.Request)
}

// readSessionChange reads a verb whose body is empty.
func readSessionChange(verb, typ string) verb {
	return func(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
		if err := domain.DecodeBody(body, &struct{}{}); err != nil {
			return Command{}, err
		}
		data := events.Plain{Request: fingerprint(verb)}
		return sessionCommand(session.Command{ID: id, Type: typ, Data: data}, data.Request)
	}
}
