package events

import "github.com/go-json-experiment/json/jsontext"

// Types of the events of a session.
const (
	SessionOpened  = "session.opened"
	SessionPut     = "session.put"
	SessionTouched = "session.touched"
	SessionClosed  = "session.closed"
	SessionExpired = "session.expired"
	SessionErased  = "session.erased" // the content is gone with the agent that owned it
)

// Session is the name of a session.
func Session(id string) AggregateName { return AggregateName("session." + id) }

// SessionOpen is the data of SessionOpened.
type SessionOpen struct {
	Owner   string `json:"owner"`
	TTL     int64  `json:"ttl_seconds"` // since the last put or touch
	Request string `json:"request"`
}

// SessionWrite is the data of SessionPut.
type SessionWrite struct {
	Key     string         `json:"key"`
	Value   jsontext.Value `json:"value"`
	Request string         `json:"request"`
}

// Plain is the data of events that need none.
type Plain struct {
	Request string `json:"request"`
}
