// Package session decides commands on sessions: a session is opened by its owner,
// holds values, and ends when it is closed or not touched for its TTL.
package session

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Status of a session; empty = not opened.
type Status string

const (
	Open    Status = "open"
	Closed  Status = "closed"
	Expired Status = "expired"
)

// DefaultTTL is that of the bucket SESSION_DATA in the topology document.
const DefaultTTL = time.Hour

// Session is the state of a session, which views store as it is.
type Session struct {
	Status    Status                    `json:"status"`
	Owner     string                    `json:"owner"`
	TTL       int64                     `json:"ttl_seconds"`
	Data      map[string]jsontext.Value `json:"data,omitempty"`
	OpenedAt  time.Time                 `json:"opened_at,omitzero"`
	TouchedAt time.Time                 `json:"touched_at,omitzero"`
	ExpiresAt time.Time                 `json:"expires_at,omitzero"`
	EndedAt   time.Time                 `json:"ended_at,omitzero"`
}

// Evolve is the session after one more event. Unknown types change nothing.
func Evolve(s Session, ev *events.Event) (Session, error) {
	switch ev.Type {
	case events.SessionOpened:
		var d events.SessionOpen
		err := json.Unmarshal(ev.Data, &d)
		s = Session{Status: Open, Owner: d.Owner, TTL: d.TTL, OpenedAt: ev.Timestamp}
		return s.touched(ev.Timestamp), err
	case events.SessionPut:
		var d events.SessionWrite
		err := json.Unmarshal(ev.Data, &d)
		data := make(map[string]jsontext.Value, len(s.Data)+1)
		for k, v := range s.Data {
			data[k] = v
		}
		data[d.Key] = d.Value
		s.Data = data
		return s.touched(ev.Timestamp), err
	case events.SessionTouched:
		return s.touched(ev.Timestamp), nil
	case events.SessionClosed, events.SessionExpired:
		s.Status, s.EndedAt = Closed, ev.Timestamp
		if ev.Type == events.SessionExpired {
			s.Status = Expired
		}
		return s, nil
	case events.SessionErased:
		if s.Status == Open {
			s.Status, s.EndedAt = Closed, ev.Timestamp
		}
		s.Data = nil
		return s, nil
	}
	return s, nil
}

// Outline is the agent that owns the session, and the session without its content.
func (s Session) Outline() (agent string, outline Session) {
	s.Data = nil
	return s.Owner, s
}

func (s Session) touched(at time.Time) Session {
	s.TouchedAt, s.ExpiresAt = at, at.Add(time.Duration(s.TTL)*time.Second)
	return s
}

// sizeWithout is the size of all keys and values but one, in bytes.
func (s Session) sizeWithout(key string) int {
	n := 0
	for k, v := range s.Data {
		if k != key {
			n += len(k) + len(v)
		}
	}
	return n
}

// Command is a command on a session.
type Command struct {
	ID    string
	Type  string // of the event it leads to
	Data  any    // one of the data structs in events
	Owner string // of an open
	Key   string // of a put
	Bytes int    // size of its key and value
	Limit int    // largest sum of keys and values; 0 = none
}

// Decide decides a command: 404 session.not_found before the session is opened,
// 422 after it has ended. A session past its TTL has ended, even if it has no
// expiry event yet; an expiry is allowed only then.
func Decide(s Session, c Command, meta domain.Metadata) domain.Decision {
	over := s.Status == Open && !meta.Now.Before(s.ExpiresAt)
	switch {
	case c.Type == events.SessionOpened && s.Status == "":
	case s.Status == "":
		return domain.Refuse(domain.Errorf(domain.NotFound, "session.not_found", "there is no session %s", c.ID))
	case c.Type == events.SessionOpened && s.Status == Open && s.Owner == c.Owner && !over,
		c.Type == events.SessionClosed && s.Status == Closed,
		c.Type == events.SessionExpired && s.Status != Open,
		c.Type == events.SessionExpired && !over:
		return domain.Decision{Outcome: domain.Unchanged}
	case c.Type == events.SessionOpened:
		return refuse(s, c, "session.exists", over)
	case c.Type == events.SessionExpired:
	case s.Status != Open:
		return refuse(s, c, "session."+string(s.Status), false)
	case over:
		return refuse(s, c, "session.expired", true)
	case c.Type == events.SessionPut && c.Limit > 0 && s.sizeWithout(c.Key)+c.Bytes > c.Limit:
		return domain.Refuse(domain.Errorf(domain.TooLarge, "session.too_large",
			"session %s would hold more than %d bytes", c.ID, c.Limit))
	}
	data, err := domain.Encode(c.Data)
	if err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
	}
	evs := []events.Event{{Type: c.Type, Aggregate: "session", ID: c.ID, Timestamp: meta.Now, Data: data}}
	if err := domain.CarryState(s, evs, Evolve); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}

func refuse(s Session, c Command, code string, over bool) domain.Decision {
	status := s.Status
	if over {
		status = Expired
	}
	why := fmt.Sprintf("session %s is %s: %s cannot follow", c.ID, status, c.Type)
	if c.Type == events.SessionOpened {
		why = fmt.Sprintf("session %s exists already, it is %s", c.ID, status)
	}
	return domain.Refuse(domain.Errorf(domain.Rejected, code, "%s", why).
		With("status", string(status)))
}
