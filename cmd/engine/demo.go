package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/domain"
)

// demoCmd shows the engine at work from the outside, over plain NATS
// connections as any client has: the tour, or recorded agent runs.
type demoCmd struct {
	target
	Agents  int           `help:"The tour's agents; each sends 25 commands." default:"200"`
	Input   string        `help:"Play the agent runs recorded in FILE (JSON lines) instead of the tour; - reads standard input." type:"existingfile" placeholder:"FILE"`
	RunName string        `name:"run" help:"With --input: appended to the agents' ids; without, a second run writes on where the first ended." placeholder:"NAME"`
	Pace    time.Duration `help:"With --input: how long an agent rests between two steps, on average; 0 = not at all." default:"0"`
	Agent   string        `help:"With --input: whose history to print; default: the agent with the most steps." placeholder:"ID"`
	Lines   int           `help:"With --input: how many lines of it; 0 = all." default:"40"`
	Stop    bool          `help:"Stop an engine that the demo had to start, instead of leaving it to look at; --json does so too."`
	JSON    bool          `name:"json" help:"One JSON object in the end, instead of text."`
}

// Validate is called with the parsed flags; an error is a mistake of usage.
func (c *demoCmd) Validate() error {
	switch {
	case c.Agents < 1 || c.Agents > 10000:
		return errors.New("--agents must be 1 to 10000")
	case c.Lines < 0 || c.Pace < 0:
		return errors.New("--lines and --pace must not be negative")
	case c.RunName != "" && domain.CheckID("", c.RunName) != nil:
		return errors.New("--run becomes a part of agent ids: letters, digits, '_' and '-', at most 128")
	case c.Input == "" && (c.RunName != "" || c.Agent != "" || c.Pace > 0):
		return errors.New("--run, --agent and --pace go with --input")
	}
	return nil
}

// Run implements the command. What can be said without an engine is said
// before one is started.
func (c *demoCmd) Run(ctx context.Context, out *output) error {
	began := time.Now()
	var runs []*agentRun
	if c.Input != "" {
		var err error
		if runs, err = loadRuns(c.Input, c.RunName); err != nil {
			return err
		}
		if c.Agent, err = chooseAgent(runs, c.Agent); err != nil {
			return err
		}
	}
	own, err := c.start(ctx, out)
	if err != nil {
		return err
	}
	if own != nil {
		defer own.close()
	}
	err = c.show(ctx, out, runs, began)
	if err != nil || own == nil {
		return err
	}
	return c.leave(ctx, out, own)
}

func (c *demoCmd) show(ctx context.Context, out *output, runs []*agentRun, began time.Time) error {
	l, err := dial(&c.target)
	if err != nil {
		return err
	}
	defer l.close()
	if c.Input != "" {
		err = c.play(ctx, out, l, runs, began)
	} else {
		err = c.tour(ctx, out, l, began)
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// start leaves an engine that is named, noted or at NATS_URL as it is and
// returns nil; where there is none it starts one in this process.
func (c *demoCmd) start(ctx context.Context, out *output) (*engine, error) {
	n, err := readNote(c.Data)
	switch {
	case c.Server != "":
		return nil, nil
	case err == nil && answers(n.NATS):
		return nil, nil
	case err != nil && os.Getenv("NATS_URL") != "":
		return nil, nil
	}
	cfg, err := c.serveConfig()
	if err != nil {
		return nil, err
	}
	if !c.JSON {
		fmt.Fprintf(out, "No engine runs in %s: starting one …\n", c.Data)
	}
	own, err := startEngine(ctx, cfg, newLog(os.Stderr, cfg.Log, cfg.LogStyle))
	if err != nil {
		return nil, fmt.Errorf("%w\n(the demo starts 'engine serve' with its defaults; its flags can be set as TIDEMARK_NATS_LISTEN, TIDEMARK_HTTP …)", err)
	}
	return own, nil
}

// answers tells a note of a running engine from one that was left behind.
func answers(url string) bool {
	nc, err := nats.Connect(url, nats.Timeout(time.Second), nats.MaxReconnects(0))
	if err == nil {
		nc.Close()
	}
	return err == nil
}

// serveConfig is what 'engine serve' would run with here, but for the log:
// only warnings, unless a level is asked for.
func (c *demoCmd) serveConfig() (*serveCmd, error) {
	args := []string{"serve", "--data=" + c.Data}
	if c.SubjectPrefix != "" {
		args = append(args, "--subject-prefix="+c.SubjectPrefix)
	}
	if os.Getenv("TIDEMARK_LOG") == "" {
		args = append(args, "--log=warn")
	}
	var all cli
	k, err := kong.New(&all, kong.Name("engine"), kong.Configuration(loadYAML, configFile(args)...))
	if err != nil {
		return nil, err
	}
	if _, err := k.Parse(args); err != nil {
		return nil, fmt.Errorf("the engine to start: %w", err)
	}
	return &all.Serve, nil
}

// leave goes on serving until it is told to stop.
func (c *demoCmd) leave(ctx context.Context, out *output, own *engine) error {
	if c.JSON || c.Stop {
		return nil
	}
	fmt.Fprintf(out, "\nThe engine that the demo started goes on serving; Ctrl-C stops it.\n%s", own.banner())
	<-ctx.Done()
	fmt.Fprintln(out, "stopping: answering what was taken, flushing the views …")
	own.close()
	fmt.Fprintln(out, "stopped.")
	return nil
}

// hint is a command line for the reader to try on the same engine.
func (c *demoCmd) hint(verb, rest string) string {
	at := ""
	switch {
	case c.Server != "":
		at = " --server " + c.Server
	case c.Data != "./data":
		at = " --data " + c.Data
	}
	return "bin/engine " + verb + at + " " + rest
}
