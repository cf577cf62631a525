package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/domain"
)

// Fork starts an agent from an earlier state of another one.
type Fork struct {
	deployment.Target
	InstantFlags
	From   string  `arg:"" help:"agent.<id>: the agent to copy."`
	As     string  `required:"" help:"The new agent's id." placeholder:"ID"`
	Reason string  `help:"Text for the event that names the origin." placeholder:"TEXT"`
	ID     *string `help:"Command id; default: the engine makes one. Repeat an interrupted fork with the same id." placeholder:"ID"`
}

// Validate refuses what is not an agent.
func (c *Fork) Validate() error {
	kind, id, _ := strings.Cut(c.From, ".")
	if kind != "agent" || domain.CheckAgentID(id) != nil {
		return fmt.Errorf("%q is not agent.<id>: only agents can be forked", c.From)
	}
	if err := domain.CheckAgentID(c.As); err != nil {
		return fmt.Errorf("--as: %w", err)
	}
	return nil
}

// Run implements the command.
func (c *Fork) Run(ctx context.Context, out *Output) error {
	body, err := encodeJSON(struct {
		From   string `json:"from"`
		Reason string `json:"reason,omitempty"`
	}{strings.TrimPrefix(c.From, "agent."), c.Reason})
	if err != nil {
		return err
	}
	if _, err = c.Find(); err != nil {
		return err
	}
	msg := nats.NewMsg(c.Subject("commands.agent." + c.As + ".fork"))
	setID(msg, c.ID)
	return request(ctx, &c.Target, msg, string(body), c.when(), out)
}
