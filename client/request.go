package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
)

// attemptTimeout bounds one attempt of a request, besides the time that the engine is
// asked to wait.
const attemptTimeout = 10 * time.Second

// NewID returns a command id: a ULID. An id may be given to several attempts of the same
// command, over restarts of the program too; the command then takes effect once.
func NewID() string { return ulid.Make().String() }

// Receipt is the answer to a command.
type Receipt struct {
	CommandID string          `json:"command_id"`
	Outcome   string          `json:"outcome"` // accepted, superseded, unchanged
	Aggregate string          `json:"aggregate"`
	ID        string          `json:"id"`
	Key       string          `json:"key,omitempty"`
	Version   uint64          `json:"version"`  // the number of changes of the aggregate, from 1
	Revision  uint64          `json:"revision"` // sequence in the journal partition
	Token     string          `json:"token"`    // read position
	Replayed  bool            `json:"replayed"` // an earlier attempt had taken effect
	Value     json.RawMessage `json:"value,omitempty"`
	Keys      int             `json:"keys,omitempty"` // entries that a revert has changed
}

// Superseded says whether a later write, by its timestamp, has won.
func (r Receipt) Superseded() bool { return r.Outcome == "superseded" }

// Command sends a command and returns its receipt. subject is "agent.a1.set", with or
// without the root "commands."; body is encoded as JSON. It sends the command again, under
// the same id, while the outcome is unknown, and gives up at the end of ctx or of the
// client's patience: then errors.Is(err, ErrUnavailable), and the command may have taken
// effect or may yet; send it again with the same [CommandID].
func (c *Client) Command(ctx context.Context, subject string, body any, options ...CommandOption) (Receipt, error) {
	var receipt Receipt
	w := c.command(options)
	if err := c.send(ctx, "commands."+trimRoot(subject, "commands."), w.id, body, 0, &receipt); err != nil {
		return Receipt{}, err
	}
	c.saw(receipt)
	return receipt, nil
}

func (c *Client) saw(r Receipt) { c.tokens.saw(r.Aggregate+"."+r.ID, r.Token) }

// Query asks a query and decodes the answer into answer. subject is "agent.a1.get", with
// or without the root "queries.". A token in the body is up to the caller.
func (c *Client) Query(ctx context.Context, subject string, body, answer any) error {
	return c.send(ctx, "queries."+trimRoot(subject, "queries."), "", body, 0, answer)
}

// Read is Query for the queries that take a token: the answer is at least as new as what
// this client has written and read of the aggregate that subject names.
func (c *Client) Read(ctx context.Context, subject string, body map[string]any, answer any) error {
	subject = trimRoot(subject, "queries.")
	aggregate := ""
	if kind, rest, _ := strings.Cut(subject, "."); strings.Contains(rest, ".") && kind != "message" && kind != "view" {
		aggregate = subject[:strings.LastIndexByte(subject, '.')]
	}
	return c.query(ctx, subject, aggregate, body, answer)
}

// query is Query with the token of the aggregate ("" = of several), which it also renews.
func (c *Client) query(ctx context.Context, subject, aggregate string, body map[string]any, answer any) error {
	body = maps.Clone(body)
	if body == nil {
		body = map[string]any{}
	}
	if body["token"] == nil && body["at_revision"] == nil && body["at_time"] == nil { // the past needs none
		if token := c.tokens.reached(aggregate); token != "" {
			body["token"] = token
		}
	}
	var raw json.RawMessage
	if err := c.Query(ctx, subject, body, &raw); err != nil {
		if errors.Is(err, errForeignToken) {
			c.tokens.forget() // said once; later reads are of the new journal
		}
		return err
	}
	var seen struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(raw, &seen); err != nil {
		return fmt.Errorf("%s: the answer is not readable: %w", subject, err)
	}
	c.tokens.saw(aggregate, seen.Token)
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("%s: the answer is not readable: %w", subject, err)
	}
	return nil
}

var errForeignToken = &Error{Kind: "invalid", Code: "token.foreign", Status: 400}

// send requests until there is an answer that is final. wait is how long the engine may
// take besides.
func (c *Client) send(ctx context.Context, subject, id string, body any, wait time.Duration, answer any) error {
	data := []byte("{}")
	if body != nil {
		var err error
		if data, err = encode(body); err != nil {
			return &Error{Kind: "invalid", Code: "json.invalid", Status: 400, Message: err.Error()}
		}
	}
	msg := &nats.Msg{Subject: c.prefix + subject, Data: data}
	if id != "" {
		msg.Header = nats.Header{nats.MsgIdHdr: {id}}
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience+wait)
	defer cancel()
	pause := &backoff.ExponentialBackOff{InitialInterval: 50 * time.Millisecond, MaxInterval: 2 * time.Second, Multiplier: 2, RandomizationFactor: 0.5}
	for {
		err := c.attempt(ctx, msg, wait, answer)
		var refused *Error
		if !errors.As(err, &refused) {
			return err // nil, or not of the engine and final
		}
		after, again := refused.again()
		if !again {
			return refused
		}
		if sleep(ctx, max(after, pause.NextBackOff())) != nil {
			return refused
		}
	}
}

// encode is JSON as it is: values that are JSON already keep their bytes, with < and &.
func encode(body any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(body)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// attempt requests once. What leaves the outcome unknown is an ErrUnavailable.
func (c *Client) attempt(ctx context.Context, msg *nats.Msg, wait time.Duration, answer any) error {
	once, cancel := context.WithTimeout(ctx, attemptTimeout+wait)
	defer cancel()
	link := c.link.Load()
	defer context.AfterFunc(link, cancel)()
	reply, err := c.nc.RequestMsgWithContext(once, msg)
	switch {
	case errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("%s: %w", msg.Subject, err)
	case errors.Is(err, nats.ErrBadSubject):
		return &Error{Kind: ErrInvalid.Kind, Code: "id.invalid", Status: ErrInvalid.Status, Message: fmt.Sprintf("%q is not a subject: an id or a verb has a character that none may have", msg.Subject)}
	case errors.Is(err, nats.ErrMaxPayload):
		return &Error{Kind: ErrTooLarge.Kind, Code: "body.too_large", Status: ErrTooLarge.Status, Message: "the body is over the limit of the NATS server"}
	case errors.Is(err, nats.ErrNoResponders):
		return unanswered("no engine answers on " + msg.Subject)
	case err != nil && link.Err() != nil && ctx.Err() == nil:
		return unanswered(msg.Subject + " was not answered before the connection broke")
	case err != nil:
		e := unanswered(msg.Subject + " was not answered: " + err.Error())
		e.cause = err
		return e
	}
	if text := reply.Header.Get("Nats-Service-Error"); text != "" {
		return parseError(reply.Data, text)
	}
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		return fmt.Errorf("%s: the answer is not readable: %w", msg.Subject, err)
	}
	return nil
}

func unanswered(message string) *Error {
	return &Error{Kind: ErrUnavailable.Kind, Code: "engine.unanswered", Status: 503, Message: message}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func trimRoot(subject, root string) string {
	if len(subject) > len(root) && subject[:len(root)] == root {
		return subject[len(root):]
	}
	return subject
}
