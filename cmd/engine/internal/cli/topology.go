package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
)

// Topology compares the streams, buckets and consumers of a server with a
// document.
type Topology struct {
	Plan  TopologyPlan  `cmd:"" help:"Show what would be created, changed or refused; exit code 1 when anything is refused."`
	Apply TopologyApply `cmd:"" help:"Do what plan shows; a second run does nothing."`
}

type topologyArgs struct {
	deployment.Target
	All  bool   `help:"Also what is as the document says, and how each setting is in force."`
	File string `short:"f" help:"YAML document; - reads standard input; default: the built-in one." type:"existingfile" env:"TIDEMARK_TOPOLOGY" placeholder:"FILE"`
}

// TopologyPlan shows the differences.
type TopologyPlan struct{ topologyArgs }

// Run implements the command.
func (c *TopologyPlan) Run(ctx context.Context, out *Output) error {
	return c.run(ctx, out, (*topology.Planner).Plan, "")
}

// TopologyApply applies the document.
type TopologyApply struct{ topologyArgs }

// Run implements the command.
func (c *TopologyApply) Run(ctx context.Context, out *Output) error {
	return c.run(ctx, out, (*topology.Planner).Apply, "Applied.\n")
}

func (c *topologyArgs) run(ctx context.Context, out *Output, do func(*topology.Planner, context.Context) (topology.Plan, error), done string) error {
	want, err := settings.ReadTopology(c.File)
	if err != nil {
		return err
	}
	nc, err := c.ConnectArea(ctx, "topology")
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	engine, embedded := c.engine(ctx, nc)
	p, err := topology.NewPlanner(nc, want, topology.Options{
		Prefix: c.SubjectPrefix, Async: embedded, Lenient: c.File == "",
	})
	if err != nil {
		return err
	}
	if done != "" && engine { // else there may be no audit
		recordAct(ctx, nc, &c.Target, "topology apply", cmp.Or(c.File, "the built-in one"))
	}
	plan, err := do(p, ctx)
	if err != nil && !errors.Is(err, topology.ErrStopped) {
		return err
	}
	if err := c.print(out, &plan); err != nil {
		return err
	}
	switch {
	case plan.Refused():
		return ErrFailed
	case !out.AsJSON:
		fmt.Fprint(out, done)
	}
	return nil
}

func (c *topologyArgs) print(out *Output, plan *topology.Plan) error {
	if !out.AsJSON {
		for i := range plan.Steps { // other programs choose parts of a stream's configuration
			s := &plan.Steps[i]
			s.Reason = Escape(s.Reason)
			for j := range s.Diff {
				d := &s.Diff[j]
				d.From, d.To, d.Refused = Escape(d.From), Escape(d.To), Escape(d.Refused)
			}
		}
		text := plan.Short
		if c.All {
			text = plan.Text
		}
		_, err := fmt.Fprint(out, text(colours(out.Writer)))
		return err
	}
	body, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, string(body))
	return err
}

// statusTimeout bounds the question whether an engine runs on the server.
const statusTimeout = 4 * time.Second

// engine reports whether the server has an engine, and whether it is the engine's own.
func (c *topologyArgs) engine(ctx context.Context, nc *nats.Conn) (runs, embedded bool) {
	t := c.Target
	t.Timeout = min(t.Timeout, statusTimeout)
	s, _, err := t.Status(ctx, nc)
	return err == nil, err == nil && s.NATS.Embedded()
}
