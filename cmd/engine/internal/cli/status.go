package cli

import (
	"context"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/internal/counted"
)

// Status shows the state of an engine.
type Status struct {
	deployment.Target
	Alive bool `help:"Only ask, over HTTP, whether the engine that serves --data works or recovers by itself: for the health check of a container."`
}

// Run implements the command.
func (c *Status) Run(ctx context.Context, out *Output) error {
	if c.Alive {
		if err := c.Target.Alive(ctx); err != nil {
			return err
		}
		return out.Result(map[string]bool{"alive": true}, func() { out.Printf("alive\n") })
	}
	nc, err := c.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	s, raw, err := c.Target.Status(ctx, nc)
	if err != nil {
		return err
	}
	if out.AsJSON {
		return out.Document(raw)
	}
	printStatus(out, &s)
	return nil
}

func printStatus(out *Output, s *deployment.Status) {
	state := "ready"
	if !s.Ready {
		state = "NOT READY"
	}
	reasons := ""
	if len(s.Reasons) > 0 {
		reasons = ": " + strings.Join(s.Reasons, "; ")
	}
	if s.NATS.Mode == "" {
		out.Printf("Tidemark %s, %s\n  durability  %s: %s\nThese credentials see no more: the grant \"admin status\" is missing.\n", s.Version, out.state(state, 0), s.Durability, s.Detail)
		return
	}
	out.Printf("Tidemark %s, up %s, %s%s\n", s.Version, time.Duration(s.UptimeS)*time.Second, out.state(state, 0), reasons)
	out.Printf("  NATS        %s %s (%s)\n", out.state(s.NATS.State, 5), s.NATS.URL, s.NATS.Mode)
	out.Printf("  Postgres    %s %s (%s) %s\n", out.state(s.Postgres.State, 5), s.Postgres.URL, s.Postgres.Place(), s.Postgres.Reason)
	if s.Postgres.Warning != "" {
		out.Printf("              WARNING: %s\n", s.Postgres.Warning)
	}
	if s.TLS != nil {
		out.Printf("  TLS         expires %s %s\n", s.TLS.Expires, s.TLS.Reason)
	}
	out.Printf("  durability  %s: %s\n", s.Durability, s.Detail)
	if s.Topology != nil {
		printTopology(out, s.Topology)
	}
	out.Printf("  journal     %s, heads %v, %s\n", s.Journal.Incarnation, s.Journal.Heads, counted.Of(s.Journal.Replicas, "replica"))
	out.Printf("  storage     %s\n", storage(s.Storage))
	out.Printf("  %-13s %9s %12s %12s %10s %8s  %s\n", "view", "partition", "position", "head", "lag", "lag s", "state")
	for _, v := range s.Views {
		out.Printf("  %-13s %9d %12d %12d %10d %8.1f  %s %s\n",
			v.Name, v.Partition, v.Position, v.Head, v.LagEvents, v.LagSeconds, out.state(v.State, 0), v.Reason)
	}
	if a := s.Audit; a != nil {
		out.Printf("  audit       %s, %d checked, %s %s\n", strings.TrimSpace(a.State+" "+a.Reason), a.Checked, counted.Of(a.Differences, "difference"), a.Last)
	}
}

func storage(s deployment.StorageStatus) string {
	if s.Limit == 0 {
		return humanize.IBytes(s.Used) + " used, without a known limit"
	}
	return humanize.IBytes(s.Used) + " of " + humanize.IBytes(s.Limit) + " used"
}

func printTopology(out *Output, s *deployment.TopologyStatus) {
	switch {
	case s.Reason != "":
		out.Printf("  topology    %s, the check failed: %s\n", s.File, s.Reason)
	case s.Drift == 0:
		out.Printf("  topology    %s, all %d match\n", s.File, s.Things)
	default:
		out.Printf("  topology    %s, %d of %d DRIFTED (engine topology plan shows more)\n", s.File, s.Drift, s.Things)
	}
	for _, d := range s.Drifted {
		out.Printf("              %s\n", d)
	}
}
