package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// Client is a client of an engine as anyone could write it: plain nats.go and
// JSON, on its own connection, which reconnects as long as the test runs.
type Client struct {
	*nats.Conn
	JS  jetstream.JetStream
	sql string // URL of the database; "" = from status
	t   testing.TB
}

// Client connects to the engine; the connection ends with the test.
func (e *Engine) Client(t testing.TB, opts ...nats.Option) *Client {
	t.Helper()
	opts = append([]nats.Option{
		nats.Name(t.Name()), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond),
		nats.ReconnectJitter(10*time.Millisecond, 10*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // else nats.go prints them
	}, opts...)
	nc, err := nats.Connect(e.NATSURL, opts...)
	Mustf(t, err, "connect to %s", e.NATSURL)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, Patient)
	Mustf(t, err, "JetStream")
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
	Value     Text   `json:"value"`
}

// Text is JSON as it was sent.
type Text string

// UnmarshalJSON keeps the text.
func (x *Text) UnmarshalJSON(text []byte) error {
	*x = Text(text)
	return nil
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

// Refused returns the refusal in err, nil without one.
func Refused(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}

// WantRefusal reports an error of the test unless err is a refusal with this
// status and code.
func WantRefusal(t testing.TB, what string, err error, status int, code string) {
	t.Helper()
	if r := Refused(err); r == nil || r.Status != status || r.Code != code {
		t.Errorf("%s: %v, want %d %s", what, err, status, code)
	}
}

// NewID returns a new command id.
func NewID() string { return ulid.Make().String() }

// answerWithin bounds a request whose context has no deadline; the engine
// gives a command ten seconds.
const answerWithin = 20 * time.Second

// withDefaultTimeout bounds a context that has no deadline.
func withDefaultTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// Ask sends a request: []byte and string bodies unchanged, others as JSON. It
// returns the body of the reply, or a *Refusal, or the error of nats.go.
func (c *Client) Ask(ctx context.Context, msg *nats.Msg) ([]byte, error) {
	ctx, cancel := withDefaultTimeout(ctx, answerWithin)
	defer cancel()
	reply, err := c.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return nil, fmt.Errorf("%.80s: %w", msg.Subject, err)
	}
	code := reply.Header.Get("Nats-Service-Error-Code")
	if checkAnswer(c.t, msg.Subject, msg.Data, reply.Data, code != ""); code == "" {
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

// Command sends a command under an id; with "" the engine chooses one.
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

// Query sends a query and returns the body of the reply. One with wait_ms has that
// much more time for it.
func (c *Client) Query(ctx context.Context, subject string, body any) (json.RawMessage, error) {
	if m, ok := body.(M); ok {
		if wait, ok := m["wait_ms"].(int); ok && wait > 0 {
			var cancel context.CancelFunc
			ctx, cancel = withDefaultTimeout(ctx, answerWithin+time.Duration(wait)*time.Millisecond)
			defer cancel()
		}
	}
	return c.Ask(ctx, &nats.Msg{Subject: subject, Data: encode(body)})
}

// M is the body of a request.
type M map[string]any

// Set writes an entry with a fresh command id; more holds further fields.
func (c *Client) Set(ctx context.Context, agent, key string, value any, more M) (Receipt, error) {
	body := M{"key": key, "value": value}
	for name, v := range more {
		body[name] = v
	}
	return c.Command(ctx, "commands.agent."+agent+".set", NewID(), body)
}

// MustDo sends a command with a fresh id on commands.<subject>; it must be
// accepted.
func (c *Client) MustDo(t testing.TB, subject string, body any) Receipt {
	t.Helper()
	r, err := c.Command(t.Context(), "commands."+subject, NewID(), body)
	if err != nil || r.Outcome != "accepted" {
		t.Fatalf("%s %v: %+v %v", subject, body, r, err)
	}
	return r
}

// MustSet is Set that must be accepted.
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

// patience is the wait_ms of a read that must succeed: the longest that a read
// may ask for. The default is no promise on a busy machine.
const patience = 60_000

// MustGet is Get that must find the entry.
func (c *Client) MustGet(t testing.TB, agent, key string, more M) Entry {
	t.Helper()
	if more["token"] != nil && more["wait_ms"] == nil {
		more = maps.Clone(more)
		more["wait_ms"] = patience
	}
	e, err := c.Get(t.Context(), agent, key, more)
	Mustf(t, err, "get %s.%s %v", agent, key, more)
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
		panic(err) // a mistake in the test
	}
	return b
}
