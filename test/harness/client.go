package harness

// This file is a client as anyone could write it: plain nats.go and JSON.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// Client speaks to an engine over a connection of its own, which comes back
// by itself as long as the test runs.
type Client struct {
	*nats.Conn
	JS  jetstream.JetStream
	sql string // "" = as status says
	t   testing.TB
}

// Client connects to the engine; the connection ends with the test.
func (e *Engine) Client(t testing.TB, opts ...nats.Option) *Client {
	t.Helper()
	opts = append([]nats.Option{
		nats.Name(t.Name()), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond),
		nats.ReconnectJitter(10*time.Millisecond, 10*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // else they are printed
	}, opts...)
	nc, err := nats.Connect(e.NATSURL, opts...)
	must(t, err, "connect to %s", e.NATSURL)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err, "JetStream")
	return &Client{Conn: nc, JS: js, sql: e.cfg.SQL, t: t}
}

// Receipt is the answer to a command (wire contract, section 2).
type Receipt struct {
	CommandID string `json:"command_id"`
	Outcome   string `json:"outcome"`
	Aggregate string `json:"aggregate"`
	ID        string `json:"id"`
	Key       string `json:"key"`
	Version   uint64 `json:"version"`
	Revision  uint64 `json:"revision"`
	Token     string `json:"token"`
	Replayed  bool   `json:"replayed"`
}

// Entry is the answer to queries.agent.<agent>.get.
type Entry struct {
	Agent     string          `json:"agent_id"`
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Timestamp time.Time       `json:"timestamp"`
	Version   uint64          `json:"version"`
	Revision  uint64          `json:"revision"`
	Digest    string          `json:"digest"`
	Source    string          `json:"source"`
	Token     string          `json:"token"`
}

// String shows an entry in a test's complaint.
func (e Entry) String() string {
	return fmt.Sprintf("%s.%s version %d revision %d from %s: %.80s", e.Agent, e.Key, e.Version, e.Revision, e.Source, e.Value)
}

// Refusal is a micro error: its headers, and its body.
type Refusal struct {
	Status  int    `json:"-"` // Nats-Service-Error-Code
	Text    string `json:"-"` // Nats-Service-Error
	Kind    string `json:"kind"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Details struct {
		Version      uint64 `json:"version"`
		Revision     uint64 `json:"revision"`
		RetryAfterMS int    `json:"retry_after_ms"`
	} `json:"details"`
	Body []byte `json:"-"`
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Message) }

// Refused is the refusal in err, nil when it is none.
func Refused(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}

// NewID makes a command id.
func NewID() string { return ulid.Make().String() }

// answerWithin bounds a request whose context has no deadline; the engine
// gives a command ten seconds.
const answerWithin = 20 * time.Second

// Ask sends a request: []byte and string bodies as they are, others as JSON.
// The answer's body, or a *Refusal, or what nats.go says.
func (c *Client) Ask(ctx context.Context, msg *nats.Msg) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, answerWithin)
		defer cancel()
	}
	reply, err := c.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return nil, fmt.Errorf("%.80s: %w", msg.Subject, err)
	}
	code := reply.Header.Get("Nats-Service-Error-Code")
	if code == "" {
		return reply.Data, nil
	}
	r := &Refusal{Text: reply.Header.Get("Nats-Service-Error"), Body: reply.Data}
	if r.Status, err = strconv.Atoi(code); err != nil {
		return nil, fmt.Errorf("the header Nats-Service-Error-Code is %q", code)
	}
	var body struct {
		Error *Refusal `json:"error"`
	}
	body.Error = r
	if err := json.Unmarshal(reply.Data, &body); err != nil {
		return nil, fmt.Errorf("a refusal's body is %q: %w", reply.Data, err)
	}
	return nil, r
}

// Command sends a command under an id; "" leaves it to the engine.
func (c *Client) Command(ctx context.Context, subject, id string, body any) (Receipt, error) {
	msg := &nats.Msg{Subject: subject, Data: encode(body), Header: nats.Header{}}
	if id != "" {
		msg.Header.Set(nats.MsgIdHdr, id)
	}
	var r Receipt
	answer, err := c.Ask(ctx, msg)
	if err == nil {
		err = json.Unmarshal(answer, &r)
	}
	return r, err
}

// Query asks and returns the answer's body.
func (c *Client) Query(ctx context.Context, subject string, body any) (json.RawMessage, error) {
	return c.Ask(ctx, &nats.Msg{Subject: subject, Data: encode(body)})
}

// M is a body.
type M map[string]any

// Set writes an entry with a fresh command id; more holds further fields.
func (c *Client) Set(ctx context.Context, agent, key string, value any, more M) (Receipt, error) {
	body := M{"key": key, "value": value}
	for name, v := range more {
		body[name] = v
	}
	return c.Command(ctx, "commands.agent."+agent+".set", NewID(), body)
}

// MustSet is Set that has to be accepted.
func (c *Client) MustSet(t testing.TB, agent, key string, value any, more M) Receipt {
	t.Helper()
	r, err := c.Set(t.Context(), agent, key, value, more)
	if err != nil || r.Outcome != "accepted" {
		t.Fatalf("set %s.%s: %+v %v", agent, key, r, err)
	}
	return r
}

// Get reads an entry; more holds consistency, token and the like.
func (c *Client) Get(ctx context.Context, agent, key string, more M) (Entry, error) {
	body := M{"key": key}
	for name, v := range more {
		body[name] = v
	}
	var e Entry
	answer, err := c.Query(ctx, "queries.agent."+agent+".get", body)
	if err == nil {
		err = json.Unmarshal(answer, &e)
	}
	return e, err
}

// MustGet is Get that has to find the entry.
func (c *Client) MustGet(t testing.TB, agent, key string, more M) Entry {
	t.Helper()
	e, err := c.Get(t.Context(), agent, key, more)
	must(t, err, "get %s.%s %v", agent, key, more)
	return e
}

func encode(body any) []byte {
	switch b := body.(type) {
	case nil:
		return nil
	case []byte:
		return b
	case string:
		return []byte(b)
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // a body that a test wrote
	}
	return b
}
