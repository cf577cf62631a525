// Command engine is Tidemark: it serves commands and queries, and has the
// subcommands to work with a running engine.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/demo"
)

// version and commit are set by the build.
var (
	version = "0.1.0"
	commit  string
)

// table is the program's subcommands.
type table struct {
	Serve    cli.Serve       `cmd:"" help:"Serve commands and queries."`
	Send     cli.Send        `cmd:"" help:"Send a command and print its receipt."`
	Query    cli.Query       `cmd:"" help:"Ask a query and print its answer."`
	Watch    cli.Watch       `cmd:"" help:"Watch hot state, or events, as they change."`
	Replay   cli.Replay      `cmd:"" help:"Print the events of the journal as JSON lines."`
	Diff     cli.Diff        `cmd:"" help:"Show what changed between two instants, and which events caused it."`
	Fork     cli.Fork        `cmd:"" help:"Start a new agent from an earlier state of another one."`
	Revert   cli.Revert      `cmd:"" help:"Bring an entry, or all entries of an agent, back to an earlier state."`
	Verify   cli.Verify      `cmd:"" help:"Fold the journal and compare it with KV and SQL."`
	Rebuild  cli.Rebuild     `cmd:"" help:"Fold a view again from the journal, beside the running engine."`
	Status   cli.Status      `cmd:"" help:"Show the servers and the progress of the views."`
	Top      cli.Top         `cmd:"" help:"Show rates, latencies, lags and what waits, live."`
	Archive  cli.Archive     `cmd:"" help:"Export and import the journal, and trim archived events."`
	DLQ      cli.DLQ         `cmd:"" name:"dlq" help:"List, retry or drop dead letters and quarantined aggregates."`
	View     cli.View        `cmd:"" help:"Define, list, show and remove declared views."`
	Topology cli.Topology    `cmd:"" help:"Compare the streams, buckets and consumers with their YAML document, and apply it."`
	Auth     cli.Auth        `cmd:"" help:"Say who may use the engine and what they may do."`
	MCP      cli.MCP         `cmd:"" name:"mcp" help:"Serve the Model Context Protocol on standard input and output, for a language model."`
	Demo     demo.Demo       `cmd:"" help:"Take the tour, or play recorded agent runs."`
	Version  cli.ShowVersion `cmd:"" help:"Print the version."`

	Completion cli.Completion `cmd:"" help:"Print a script for completion in bash, zsh or fish."`

	NoColor     bool            `help:"Print without colours, like the variable NO_COLOR."`
	ShowVersion cli.VersionFlag `name:"version" help:"Print the version and exit."`
}

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if len(os.Args) < 2 || os.Args[1] != "serve" { // which takes SIGHUP itself
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, cli.NewProgram(os.Args[0]), hideArguments(os.Args[1:]), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs one subcommand and returns the exit code.
func run(ctx context.Context, program cli.Program, args []string, stdout, stderr io.Writer) int {
	var t table
	cli.NoColour(args)
	out := &cli.Output{Writer: stdout, AsJSON: cli.WantsJSON(args), Program: program}
	exited := -1
	k, err := parser(&t, program.Name, kong.Writers(out.Program.Renaming(out), stderr), kong.Exit(func(code int) { exited = code }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(out, cli.Version(version), cli.Commit(commit)), cli.ConfigFile(args))
	if err == nil {
		out.Program.Knows(k.Model)
		switch {
		case len(args) == 0:
			args = []string{"--help"}
		case args[0] == "help": // engine help send
			args = append(slices.Clone(args[1:]), "--help")
		}
		var parsed *kong.Context
		if parsed, err = k.Parse(args); exited >= 0 || out.Lost(nil) != nil { // --help, --version
			err = out.Lost(nil)
			out.Program.PrintError(stderr, err, out.AsJSON)
			return max(exited, cli.ExitCode(err))
		}
		if err == nil {
			stop := func() {}
			if command, _, _ := strings.Cut(parsed.Command(), " "); !lasting[command] {
				out.Writer, stop = cli.Spin(ctx, stdout)
			}
			err = out.Lost(parsed.Run())
			stop()
			out.Program.PrintError(stderr, err, out.AsJSON)
			return cli.ExitCode(err)
		}
	}
	err = cli.UsageError(err)
	out.Program.PrintError(stderr, err, out.AsJSON)
	return cli.ExitUsage
}

// lasting are the subcommands that run until they are stopped, or show what they do.
var lasting = map[string]bool{"serve": true, "watch": true, "mcp": true, "demo": true, "replay": true, "completion": true}

// parser is the program's command line under a name.
func parser(t *table, name string, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(t, append(options, kong.Name(name), kong.ValueFormatter(cli.HelpText), kong.Description("Tidemark: an event-sourced state engine for multi-agent systems."))...)
}
