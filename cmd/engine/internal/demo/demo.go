// Package demo shows the engine at work from outside, over plain NATS
// connections as any client has: a tour, or recorded agent runs. It reads every
// tier back and compares it with what it has written.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/app"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/domain"
)

// Demo is the subcommand.
type Demo struct {
	deployment.Target
	Agents  int           `help:"Agents of the tour; each sends 25 commands." default:"200"`
	Input   string        `help:"Play the agent runs recorded in FILE (JSON lines) instead of the tour; - reads standard input." type:"existingfile" placeholder:"FILE"`
	RunName string        `name:"run" help:"With --input: suffix of the agents' ids; without it, a second run continues the first one's agents." placeholder:"NAME"`
	Pace    time.Duration `help:"With --input: average pause of an agent between two steps." default:"0"`
	Agent   string        `help:"With --input: the agent whose history is printed; default: the one with the most steps." placeholder:"ID"`
	Lines   int           `help:"With --input: lines of its history; 0 = all." default:"40"`
	Stop    bool          `help:"Stop an engine that the demo has started, instead of leaving it running; --json implies it."`
	Clean   bool          `help:"Remove the data directory that an earlier demo has made, instead of showing anything. A directory that existed before, or that engine serve has used since, stays."`
}

// Validate refuses flags that do not go together.
func (c *Demo) Validate() error {
	switch {
	case c.Agents < 1 || c.Agents > 10000:
		return errors.New("--agents must be 1 to 10000")
	case c.Lines < 0 || c.Pace < 0:
		return errors.New("--lines and --pace must not be negative")
	case c.RunName != "" && domain.CheckID("", c.RunName) != nil:
		return errors.New("--run becomes a part of agent ids: letters, digits, '_' and '-', at most 128")
	case c.Clean && (c.Input != "" || c.Server != "" || c.Stop):
		return errors.New("--clean goes with --data alone")
	case c.Input == "" && (c.RunName != "" || c.Agent != "" || c.Pace > 0):
		return errors.New("--run, --agent and --pace need --input")
	}
	return nil
}

// Run implements the command. It checks the input before it starts an engine.
func (c *Demo) Run(ctx context.Context, version cli.Version, out *cli.Output) error {
	if c.Clean {
		return c.clean(out)
	}
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
	own, err := c.start(ctx, version, out)
	if err != nil {
		return err
	}
	if own != nil {
		defer own.Stop()
	}
	err = c.show(ctx, out, runs, began)
	if err == nil && !out.AsJSON {
		c.printPlace(out, own != nil)
	}
	if err == nil && own != nil && !out.AsJSON && !c.Stop {
		fmt.Fprintf(out, "\nThe engine that the demo has started keeps running; Ctrl-C stops it.\n%s", own.Banner(out.Program.Path))
		cli.Wait(ctx, out, own)
	}
	return err
}

func (c *Demo) show(ctx context.Context, out *cli.Output, runs []*agentRun, began time.Time) error {
	l, err := dial(&c.Target)
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

// start starts an engine in this process, unless one is named by a flag, runs in
// the data directory or is at NATS_URL; then it returns nil.
func (c *Demo) start(ctx context.Context, version cli.Version, out *cli.Output) (*app.Engine, error) {
	_, err := deployment.ReadNote(c.Data)
	switch {
	case c.Server != "":
		return nil, nil
	case err == nil && c.answers():
		return nil, nil
	case err != nil && os.Getenv("NATS_URL") != "":
		return nil, nil
	}
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	if !out.AsJSON {
		out.Printf("No engine runs in %s: starting one …\n", c.Data)
	}
	_, err = os.Lstat(c.Data)
	made := errors.Is(err, fs.ErrNotExist)
	own, err := app.Start(ctx, cfg, string(version), cli.NewLog(os.Stderr, cfg.Log, cfg.LogStyle))
	if err != nil {
		return nil, fmt.Errorf("%w (the demo starts 'engine serve' with its defaults; set its flags as TIDEMARK_NATS_LISTEN, TIDEMARK_HTTP …)", err)
	}
	if made {
		if err := deployment.MarkDemo(c.Data); err != nil {
			own.Stop()
			return nil, err
		}
	}
	return own, nil
}

// answers reports whether the engine of the data directory still runs.
func (c *Demo) answers() bool {
	nc, err := c.Connect()
	if err == nil {
		nc.Close()
	}
	return err == nil
}

// config is what 'engine serve' runs with here, except that only warnings are
// logged unless TIDEMARK_LOG is set.
func (c *Demo) config() (*settings.Config, error) {
	args := []string{"serve", "--data=" + c.Data}
	if c.SubjectPrefix != "" {
		args = append(args, "--subject-prefix="+c.SubjectPrefix)
	}
	if os.Getenv("TIDEMARK_LOG") == "" {
		args = append(args, "--log=warn")
	}
	var table struct {
		Serve cli.Serve `cmd:""`
	}
	k, err := kong.New(&table, kong.Name("engine"), cli.ConfigFile(args))
	if err != nil {
		return nil, err
	}
	if _, err := k.Parse(args); err != nil {
		return nil, fmt.Errorf("the configuration of the engine to start: %w", err)
	}
	return &table.Serve.Config, nil
}

// hint is a command line to try on the same engine.
func (c *Demo) hint(program, verb, rest string) string {
	at := ""
	switch {
	case c.Server != "":
		at = " --server " + c.Server
	case c.Data != "./data":
		at = " --data " + c.Data
	}
	return program + " " + verb + at + " " + rest
}
