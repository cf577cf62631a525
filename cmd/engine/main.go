// Command engine is Tidemark: it serves commands and queries, and has the
// subcommands to work with a running engine.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/demo"
)

// version is set by the build.
var version = "0.1.0"

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
}

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if len(os.Args) < 2 || os.Args[1] != "serve" { // which takes SIGHUP itself
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, hideArguments(os.Args[1:]), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs one subcommand and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var t table
	out := &cli.Output{Writer: stdout, AsJSON: cli.WantsJSON(args)}
	exited := -1
	k, err := parser(&t, "engine", kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(out, cli.Version(version)), cli.ConfigFile(args))
	if err == nil {
		if len(args) == 0 {
			args = []string{"--help"}
		}
		var parsed *kong.Context
		if parsed, err = k.Parse(args); exited >= 0 { // --help
			return exited
		}
		if err == nil {
			err = parsed.Run()
			cli.PrintError(stderr, err, out.AsJSON)
			return cli.ExitCode(err)
		}
	}
	err = cli.UsageError(err)
	cli.PrintError(stderr, err, out.AsJSON)
	return cli.ExitUsage
}

// parser is the program's command line under a name.
func parser(t *table, name string, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(t, append(options, kong.Name(name), kong.Description("Tidemark: an event-sourced state engine for multi-agent systems."))...)
}
