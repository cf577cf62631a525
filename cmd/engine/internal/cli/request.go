package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
)

// Send sends a command.
type Send struct {
	deployment.Target
	Subject string `arg:"" help:"For example commands.agent.a1.set."`
	Body    string `arg:"" optional:"" default:"{}" help:"JSON; - reads standard input."`
	ID      string `help:"Command id; default: the engine makes one." placeholder:"ID"`
}

// Run implements the command.
func (c *Send) Run(ctx context.Context, out *Output) error {
	msg := nats.NewMsg(c.Subject)
	if c.ID != "" {
		msg.Header.Set(nats.MsgIdHdr, c.ID)
	}
	return request(ctx, &c.Target, msg, c.Body, instant{}, out)
}

// Query asks a query.
type Query struct {
	deployment.Target
	instantFlags
	Subject string `arg:"" help:"For example queries.agent.a1.get."`
	Body    string `arg:"" optional:"" default:"{}" help:"JSON; - reads standard input."`
}

// Run implements the command.
func (c *Query) Run(ctx context.Context, out *Output) error {
	return request(ctx, &c.Target, nats.NewMsg(c.Subject), c.Body, c.when(), out)
}

// request sends a message with a body, to which it adds the instant, and prints
// the answer. It prints the body of a refusal too, so that programs can read it.
func request(ctx context.Context, t *deployment.Target, msg *nats.Msg, body string, at instant, out *Output) error {
	msg.Data = []byte(body)
	var err error
	if body == "-" {
		if msg.Data, err = io.ReadAll(os.Stdin); err != nil {
			return err
		}
	}
	if msg.Data, err = at.into(msg.Data); err != nil {
		return err
	}
	nc, err := t.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	answer, err := deployment.Ask(ctx, nc, t.Timeout, msg)
	var no *deployment.Refusal
	if errors.As(err, &no) {
		fmt.Fprintln(out, string(no.Body))
		return err
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, string(answer))
	return err
}

// Fork starts an agent from an earlier state of another one.
type Fork struct {
	deployment.Target
	instantFlags
	From   string `arg:"" help:"agent.<id>: the agent to copy."`
	As     string `required:"" help:"The new agent's id." placeholder:"ID"`
	Reason string `help:"Text for the event that names the origin." placeholder:"TEXT"`
	ID     string `help:"Command id; default: the engine makes one. Repeat an interrupted fork with the same id." placeholder:"ID"`
}

// Run implements the command.
func (c *Fork) Run(ctx context.Context, out *Output) error {
	id, err := agentOf(c.From)
	if err != nil {
		return err
	}
	body, err := encodeJSON(struct {
		From   string `json:"from"`
		Reason string `json:"reason,omitempty"`
	}{id, c.Reason})
	if err != nil {
		return err
	}
	nc, err := c.Connect() // it finds the subject prefix
	if err != nil {
		return err
	}
	nc.Close()
	msg := nats.NewMsg(c.Subject("commands.agent." + c.As + ".fork"))
	if c.ID != "" {
		msg.Header.Set(nats.MsgIdHdr, c.ID)
	}
	return request(ctx, &c.Target, msg, string(body), c.when(), out)
}
