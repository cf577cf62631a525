package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
)

// applyTopology creates and changes the server's streams, buckets and consumers
// as --topology says, before the engine opens them. A document that does not fit
// the server ends the start. A single step that is refused does not; the status
// shows it as drift.
func applyTopology(ctx context.Context, nc *nats.Conn, cfg *settings.Config, embedded bool, log *slog.Logger) (*topologyCheck, error) {
	p, err := topology.NewPlanner(nc, cfg.Document(), topology.Options{Prefix: cfg.SubjectPrefix, Async: embedded, Lenient: cfg.Topology == ""})
	if err != nil {
		return nil, err
	}
	plan, err := p.Apply(ctx)
	if err != nil && !errors.Is(err, topology.ErrStopped) {
		return nil, fmt.Errorf("apply the topology: %w", err)
	}
	logPlan(log, &plan)
	file := cfg.Topology
	switch {
	case file == "":
		file = "default"
	case err != nil:
		stop := plan.Stopped()
		return nil, fmt.Errorf("--topology %s does not fit the server: %s: %s", file, stop.Name, stop.Text)
	}
	return &topologyCheck{planner: p, file: file}, nil
}

func logPlan(log *slog.Logger, plan *topology.Plan) {
	for _, c := range plan.Checks {
		if c.Level != topology.OK {
			log.Warn("topology: "+c.Text, "check", c.Name)
		}
	}
	done := map[topology.Action][]string{}
	for i := range plan.Steps {
		s := &plan.Steps[i]
		if name := string(s.Kind) + " " + s.Name; s.Action == topology.Refuse {
			log.Warn("topology: "+name+" is refused and stays as it is", "reason", s.Reason)
		} else {
			done[s.Action] = append(done[s.Action], name)
		}
	}
	for _, a := range []topology.Action{topology.Create, topology.Update} {
		if len(done[a]) > 0 {
			log.Info("topology: "+string(a), "names", strings.Join(done[a], ", "))
		}
	}
}

// topologyCheck compares the server with the topology when the status is asked,
// at most once in checkInterval.
type topologyCheck struct {
	planner *topology.Planner
	file    string
	mu      sync.Mutex
	last    deployment.TopologyStatus
	due     time.Time
}

// apply creates again what is missing on the server.
func (c *topologyCheck) apply(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.planner.Apply(ctx)
	return err
}

const checkInterval = 2 * time.Second

// status takes at most half of lookTime. When the check fails it returns the
// result of the last one, with the reason.
func (c *topologyCheck) status(ctx context.Context, r *reconciler) *deployment.TopologyStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.After(c.due) {
		ctx, cancel := context.WithTimeout(ctx, lookTime/2)
		defer cancel()
		if plan, err := c.planner.Inspect(ctx); err != nil {
			c.last.File, c.last.Reason = c.file, err.Error()
		} else {
			drifted := plan.Drift()
			c.last = deployment.TopologyStatus{
				File: c.file, Things: len(plan.Steps), Drift: len(drifted), Drifted: drifted, Checked: now.UTC().Format(time.RFC3339),
			}
		}
		c.due = time.Now().Add(checkInterval)
	}
	s := c.last
	s.Engine = r.problems()
	return &s
}
