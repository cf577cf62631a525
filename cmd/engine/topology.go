package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/config"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
)

// topologyCmd compares the seed's streams, buckets and consumers with a server.
type topologyCmd struct {
	Plan  topologyPlanCmd  `cmd:"" help:"Show what would be created, changed or refused; exit 1 when anything is refused."`
	Apply topologyApplyCmd `cmd:"" help:"Do what plan shows; again, it does nothing."`
}

type topologyArgs struct {
	target
	File string `short:"f" help:"YAML in the form of the seed's section 6; - reads standard input; default: the one built in." env:"TIDEMARK_TOPOLOGY" placeholder:"FILE"`
	JSON bool   `name:"json" help:"Machine output."`
}

type topologyPlanCmd struct{ topologyArgs }

func (c *topologyPlanCmd) Run(ctx context.Context, out *output) error {
	return c.run(ctx, out, (*topology.Planner).Plan, "")
}

type topologyApplyCmd struct{ topologyArgs }

func (c *topologyApplyCmd) Run(ctx context.Context, out *output) error {
	return c.run(ctx, out, (*topology.Planner).Apply, "Applied.\n")
}

func (c *topologyArgs) run(ctx context.Context, out *output, do func(*topology.Planner, context.Context) (topology.Plan, error), done string) error {
	want, err := readTopology(c.File)
	if err != nil {
		return err
	}
	nc, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	p, err := topology.NewPlanner(nc, want, topology.Options{
		Prefix: c.SubjectPrefix, Async: c.embedded(ctx, nc), Lenient: c.File == "",
	})
	if err != nil {
		return err
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
		return errFailed
	case !c.JSON:
		fmt.Fprint(out, done)
	}
	return nil
}

func (c *topologyArgs) print(out *output, plan *topology.Plan) error {
	if !c.JSON {
		_, err := fmt.Fprint(out, plan.Text(isTerminal(out.Writer)))
		return err
	}
	body, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, string(body))
	return err
}

// embedded asks whether the server is an engine's own. Where no engine answers,
// it is not.
func (c *topologyArgs) embedded(ctx context.Context, nc *nats.Conn) bool {
	t := c.target
	t.Timeout = min(t.Timeout, 2*lookTime)
	s, _, err := askStatus(ctx, nc, &t)
	return err == nil && s.NATS.Mode == "embedded"
}

// readTopology reads a file; "" is the default topology.
func readTopology(file string) (topology.Topology, error) {
	text, err := config.Topology, error(nil)
	switch file {
	case "":
		file = "the default topology"
	case "-":
		text, err = io.ReadAll(os.Stdin)
	default:
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return topology.Topology{}, err
	}
	t, err := topology.Parse(text)
	if err != nil {
		return t, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// applyTopology makes the server as --topology says before anything is opened.
// A file that does not fit the server ends the start; single steps that are
// refused do not, they are drift from then on.
func (e *engine) applyTopology(ctx context.Context, nc *nats.Conn) error {
	want, err := readTopology(e.cfg.Topology)
	if err != nil {
		return err
	}
	p, err := topology.NewPlanner(nc, want, topology.Options{
		Prefix: e.cfg.SubjectPrefix, Async: e.nats != nil, Lenient: e.cfg.Topology == "",
	})
	if err != nil {
		return err
	}
	e.topology = &topologyWatch{planner: p, file: e.cfg.Topology}
	if e.topology.file == "" {
		e.topology.file = "default"
	}
	plan, err := p.Apply(ctx)
	if err != nil && !errors.Is(err, topology.ErrStopped) {
		return fmt.Errorf("apply the topology: %w", err)
	}
	logPlan(e.log, &plan)
	if err != nil && e.cfg.Topology != "" {
		stop := plan.Stopped()
		return fmt.Errorf("--topology %s does not fit the server: %s: %s", e.cfg.Topology, stop.Name, stop.Text)
	}
	return nil
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

// topologyStatus is how far the server is from the topology.
type topologyStatus struct {
	File    string   `json:"file"` // "default" = the one built in
	Things  int      `json:"things"`
	Drift   int      `json:"drift"`
	Drifted []string `json:"drifted,omitempty"` // what, one line each
	Checked string   `json:"checked_at,omitempty"`
	Reason  string   `json:"reason,omitempty"` // why the last look failed
}

// text is the line of engine status, and one for each thing that drifted.
func (s *topologyStatus) text(b *strings.Builder) {
	switch {
	case s == nil:
		return
	case s.Reason != "":
		fmt.Fprintf(b, "  topology    %s, not looked at: %s\n", s.File, s.Reason)
	case s.Drift == 0:
		fmt.Fprintf(b, "  topology    %s, all %d as it says\n", s.File, s.Things)
	default:
		fmt.Fprintf(b, "  topology    %s, %d of %d DRIFTED (engine topology plan says more)\n", s.File, s.Drift, s.Things)
	}
	for _, d := range s.Drifted {
		fmt.Fprintf(b, "              %s\n", d)
	}
}

// topologyWatch looks at the server when it is asked, at most once a lookEvery.
type topologyWatch struct {
	planner *topology.Planner
	file    string
	mu      sync.Mutex
	last    topologyStatus
	due     time.Time
}

const lookEvery = 2 * time.Second

// status takes no longer than half of lookTime; where that does not do, it
// tells what the look before saw, and why.
func (w *topologyWatch) status(ctx context.Context) *topologyStatus {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.After(w.due) {
		ctx, cancel := context.WithTimeout(ctx, lookTime/2)
		defer cancel()
		if plan, err := w.planner.Inspect(ctx); err != nil {
			w.last.File, w.last.Reason = w.file, err.Error()
		} else {
			drifted := plan.Drift()
			w.last = topologyStatus{File: w.file, Things: len(plan.Steps), Drift: len(drifted), Drifted: drifted,
				Checked: now.UTC().Format(time.RFC3339)}
		}
		w.due = time.Now().Add(lookEvery)
	}
	s := w.last
	return &s
}
