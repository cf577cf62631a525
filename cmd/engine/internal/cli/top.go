package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/top"
	"github.com/tidemark-engine/tidemark/domain"
)

// Top shows what an engine does.
type Top struct {
	deployment.Target
	Interval time.Duration `help:"Time between two looks." default:"1s"`
	Once     bool          `help:"Print one snapshot, as where there is no terminal."`
}

// Validate refuses an interval that no engine should be asked at.
func (c *Top) Validate() error {
	if c.Interval < 100*time.Millisecond || c.Interval > time.Hour {
		return errors.New("--interval must be 100ms to 1h")
	}
	return c.Target.Validate()
}

// Run implements the command.
func (c *Top) Run(ctx context.Context, out *Output) error {
	nc, err := c.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	from := top.Source{
		Status: func(ctx context.Context) (deployment.Status, error) {
			s, _, err := c.Target.Status(ctx, nc)
			if err == nil && s.NATS.Mode == "" {
				err = domain.Errorf(domain.Forbidden, "forbidden", "top needs the grant %q, which these credentials lack: ask the operator of the engine (engine auth grant)", "admin status")
			}
			return s, err
		},
		Metrics: c.Metrics,
	}
	if _, err := from.Status(ctx); err != nil { // before a screen is drawn
		return err
	}
	if !c.Once && !out.AsJSON && isTerminal(out.Writer) && isTerminal(os.Stdin) {
		return top.Live(ctx, from, c.Interval, os.Stdin, screen(out.Writer), Escape)
	}
	s, err := top.Once(ctx, from, c.Interval)
	if err != nil {
		return err
	}
	return out.Result(s, func() { fmt.Fprint(out, s.Render(Escape)) })
}
