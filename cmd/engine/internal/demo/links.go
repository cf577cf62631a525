package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// links are the demo's connections to the engine.
type links struct {
	target *deployment.Target
	conns  []*nats.Conn
	stores *nats.Conn   // reads the journal
	again  atomic.Int64 // retried requests
}

const demoConnections = 8

func dial(t *deployment.Target) (*links, error) {
	l := &links{target: t}
	var err error
	if l.stores, err = t.ConnectStores(); err != nil {
		return nil, err
	}
	for range demoConnections {
		nc, err := t.Connect()
		if err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, nc)
	}
	return l, nil
}

func (l *links) close() {
	l.stores.Close()
	for _, nc := range l.conns {
		nc.Close()
	}
}

// each calls f for 0 … n-1, up to limit at once, until one fails.
func each(ctx context.Context, n, limit int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}

// wireError is the error body of an answer (contract, section 2).
type wireError struct {
	Kind    string `json:"kind"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Details struct {
		RetryAfterMS int `json:"retry_after_ms"`
	} `json:"details"`
}

func (e *wireError) Error() string { return fmt.Sprintf("%s (%s): %s", e.Kind, e.Code, e.Message) }

// maxAttempts bounds how often the demo sends one request.
const maxAttempts = 3

// request sends on one of the connections. It retries after the pause that an
// overloaded engine asks for, and retries a command whose outcome is unknown with
// the same id, which is safe (contract, section 2). A refusal is a *wireError.
func (l *links) request(ctx context.Context, conn int, msg *nats.Msg) ([]byte, error) {
	for attempt := 1; ; attempt++ {
		body, err := deployment.Ask(ctx, l.conns[conn%len(l.conns)], l.target.Timeout, msg)
		err = wireErrorOf(err)
		pause, again := retry(err, msg.Header.Get(nats.MsgIdHdr) != "")
		if !again || attempt == maxAttempts || ctx.Err() != nil {
			return body, err
		}
		l.again.Add(1)
		if _ = wait.Sleep(ctx, pause); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func wireErrorOf(err error) error {
	var no *deployment.Refusal
	if !errors.As(err, &no) {
		return err
	}
	var body struct {
		Error wireError `json:"error"`
	}
	if json.Unmarshal(no.Body, &body) != nil || body.Error.Kind == "" {
		return err
	}
	return &body.Error
}

func retry(err error, command bool) (time.Duration, bool) {
	var no *wireError
	switch {
	case errors.As(err, &no) && no.Kind == "overloaded":
		return time.Duration(no.Details.RetryAfterMS) * time.Millisecond, true
	case errors.As(err, &no):
		return 100 * time.Millisecond, command && no.Kind == "unavailable"
	}
	return 0, command && errors.Is(err, context.DeadlineExceeded)
}

// receipt is the engine's answer to a command (contract, section 2).
type receipt struct {
	Outcome  string `json:"outcome"`
	Version  uint64 `json:"version"`
	Revision uint64 `json:"revision"`
	Token    string `json:"token"`
	Replayed bool   `json:"replayed"`
}

// send sends one command to an agent.
func (l *links) send(ctx context.Context, conn int, agent, verb, id string, body []byte) (r receipt, err error) {
	msg := nats.NewMsg(l.target.Subject("commands.agent." + agent + "." + verb))
	msg.Header.Set(nats.MsgIdHdr, id)
	msg.Data = body
	answer, err := l.request(ctx, conn, msg)
	if err == nil {
		err = json.Unmarshal(answer, &r)
	}
	return r, err
}

// query asks queries.agent.<agent>.<question>; found is false on a 404.
func (l *links) query(ctx context.Context, conn int, agent, question string, body, into any) (found bool, err error) {
	msg := nats.NewMsg(l.target.Subject("queries.agent." + agent + "." + question))
	if msg.Data, err = json.Marshal(body); err != nil {
		return false, err
	}
	answer, err := l.request(ctx, conn, msg)
	var no *wireError
	if errors.As(err, &no) && no.Kind == "not_found" {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s of %s: %w", question, agent, err)
	}
	return true, json.Unmarshal(answer, into)
}

// getQuestion is the body of queries.agent.<agent>.get.
type getQuestion struct {
	Key         string `json:"key"`
	Consistency string `json:"consistency,omitempty"`
	Token       string `json:"token,omitempty"`
	WaitMS      int64  `json:"wait_ms,omitempty"`
}

// gotEntry is its reply.
type gotEntry struct {
	Value    json.RawMessage `json:"value"`
	Version  uint64          `json:"version"`
	Revision uint64          `json:"revision"`
	Digest   string          `json:"digest"`
	Source   string          `json:"source"`
}

// get reads one entry; the engine waits for the token as long as the client does.
func (l *links) get(ctx context.Context, conn int, p place, consistency string) (e gotEntry, found bool, err error) {
	wait := min(max(l.target.Timeout-time.Second, 0), time.Minute)
	found, err = l.query(ctx, conn, p.agent, "get", getQuestion{
		Key: p.key, Consistency: consistency, Token: p.token, WaitMS: wait.Milliseconds(),
	}, &e)
	return e, found, err
}
