package client

import (
	"context"
	"encoding/json"
	"time"
)

// Session is a session with its values.
type Session struct {
	ID        string                     `json:"session_id"`
	Owner     string                     `json:"owner"`
	Status    string                     `json:"status"` // open, closed, expired
	Data      map[string]json.RawMessage `json:"data"`
	ExpiresAt time.Time                  `json:"expires_at"`
	Version   uint64                     `json:"version"`
	Revision  uint64                     `json:"revision"`
}

// OpenSession opens a session for its owner. It expires ttl after the last write or touch;
// 0 is the default of the engine, and ttl counts in whole seconds.
func (c *Client) OpenSession(ctx context.Context, id, owner string, ttl time.Duration, options ...CommandOption) (Receipt, error) {
	if ttl > 0 {
		options = with(options, Field("ttl", int64(ttl.Seconds())))
	}
	return c.do(ctx, "session."+id+".open", with(options, Field("owner", owner)))
}

// PutSession sets a value of an open session.
func (c *Client) PutSession(ctx context.Context, id, key string, value any, options ...CommandOption) (Receipt, error) {
	return c.do(ctx, "session."+id+".put", with(options, Field("key", key), Field("value", value)))
}

// TouchSession keeps a session open for its time to live.
func (c *Client) TouchSession(ctx context.Context, id string, options ...CommandOption) (Receipt, error) {
	return c.do(ctx, "session."+id+".touch", options)
}

// CloseSession ends a session.
func (c *Client) CloseSession(ctx context.Context, id string, options ...CommandOption) (Receipt, error) {
	return c.do(ctx, "session."+id+".close", options)
}

// GetSession reads a session.
func (c *Client) GetSession(ctx context.Context, id string, options ...ReadOption) (Session, error) {
	return document[Session](ctx, c, "session."+id, options)
}

// SetConfig sets a configuration value of an agent.
func (c *Client) SetConfig(ctx context.Context, agent, key string, value any, options ...CommandOption) (Receipt, error) {
	return c.do(ctx, "config."+agent+".set", with(options, Field("key", key), Field("value", value)))
}

// UnsetConfig removes a configuration value of an agent.
func (c *Client) UnsetConfig(ctx context.Context, agent, key string, options ...CommandOption) (Receipt, error) {
	return c.do(ctx, "config."+agent+".unset", with(options, Field("key", key)))
}

// GetConfig reads a configuration value of an agent.
func GetConfig[T any](ctx context.Context, c *Client, agent, key string, options ...ReadOption) (Entry[T], error) {
	var w wireEntry
	aggregate := "config." + agent
	if err := c.query(ctx, aggregate+".get", aggregate, reading(options, map[string]any{"key": key}), &w); err != nil {
		return Entry[T]{}, err
	}
	w.Key = key
	return decode[T](w)
}

// Message is a message in an inbox.
type Message struct {
	ID       string          `json:"message_id"`
	Kind     string          `json:"kind"` // direct, broadcast
	From     string          `json:"from"`
	To       string          `json:"to"`
	Body     json.RawMessage `json:"body"`
	SentAt   time.Time       `json:"sent_at"`
	Sequence uint64          `json:"sequence"`
	Mark     int64           `json:"mark"` // rises in the order of the inbox: message.<agent>.read takes it
	Read     bool            `json:"read"`
}

// Send sends a message from one agent to another.
func (c *Client) Send(ctx context.Context, from, to string, body any, options ...CommandOption) error {
	_, err := c.do(ctx, "message."+from+".direct", with(options, Field("to", to), Field("body", body)))
	return err
}

// Broadcast sends a message from one agent to all.
func (c *Client) Broadcast(ctx context.Context, from string, body any, options ...CommandOption) error {
	_, err := c.do(ctx, "message."+from+".broadcast", with(options, Field("body", body)))
	return err
}

// Claim is a claim that is held: a unique name, a lock or a slot.
type Claim struct {
	ID, Owner string
	Fence     uint64 // rises with each new owner: what the claim guards refuses lower ones
	c         *Client
}

// Acquire takes a claim for owner. With a lease it ends by itself unless it is renewed; 0
// is until it is released. If another owner holds it, the error is an ErrClaimHeld.
func (c *Client) Acquire(ctx context.Context, id, owner string, lease time.Duration, options ...CommandOption) (*Claim, error) {
	if lease > 0 {
		options = with(options, Field("lease_ms", lease.Milliseconds()))
	}
	receipt, err := c.do(ctx, "claim."+id+".acquire", with(options, Field("owner", owner)))
	if err != nil {
		return nil, err
	}
	return &Claim{ID: id, Owner: owner, Fence: receipt.Version, c: c}, nil
}

// Renew begins the lease again. If the claim is lost, the error is an ErrClaimFenced.
func (l *Claim) Renew(ctx context.Context) error { return l.do(ctx, "renew") }

// Release gives the claim up.
func (l *Claim) Release(ctx context.Context) error { return l.do(ctx, "release") }

func (l *Claim) do(ctx context.Context, verb string) error {
	_, err := l.c.do(ctx, "claim."+l.ID+"."+verb, []CommandOption{Field("owner", l.Owner), Field("fence", l.Fence)})
	return err
}

// Schedule says when a reminder is due.
type Schedule struct{ fields []CommandOption }

// At is once, at a time.
func At(t time.Time) Schedule {
	return Schedule{[]CommandOption{Field("at", t.UTC().Format(time.RFC3339Nano))}}
}

// Every is each time that an interval, of a second at least, has passed.
func Every(interval time.Duration) Schedule {
	return Schedule{[]CommandOption{Field("every_ms", interval.Milliseconds())}}
}

// Cron is five cron fields in an IANA time zone ("" = UTC).
func Cron(fields, timezone string) Schedule {
	s := Schedule{[]CommandOption{Field("cron", fields)}}
	if timezone != "" {
		s.fields = append(s.fields, Field("timezone", timezone))
	}
	return s
}

// Remind lets the engine send a command at each due time, also when this program has
// ended. subject and body are those of [Client.Command].
func (c *Client) Remind(ctx context.Context, id string, when Schedule, subject string, body any, options ...CommandOption) (Receipt, error) {
	command := map[string]any{"subject": subject}
	if body != nil {
		command["body"] = body
	}
	return c.do(ctx, "reminder."+id+".set", with(with(options, when.fields...), Field("command", command)))
}

// CancelReminder ends a reminder.
func (c *Client) CancelReminder(ctx context.Context, id string, options ...CommandOption) (Receipt, error) {
	return c.do(ctx, "reminder."+id+".cancel", options)
}

func document[T any](ctx context.Context, c *Client, aggregate string, options []ReadOption) (answer T, err error) {
	err = c.query(ctx, aggregate+".get", aggregate, reading(options, map[string]any{}), &answer)
	return answer, err
}
