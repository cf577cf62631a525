// Command engine is Tidemark: it serves commands and queries, and holds the
// tools to talk to a running engine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the build.
var version = "0.1.0"

// Exit codes of the program (contract, section 7).
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

type cli struct {
	Serve    serveCmd    `cmd:"" help:"Serve commands and queries."`
	Send     sendCmd     `cmd:"" help:"Send a command and print its receipt."`
	Query    queryCmd    `cmd:"" help:"Ask a query and print its answer."`
	Watch    watchCmd    `cmd:"" help:"Watch hot state, or events, as they change."`
	Replay   replayCmd   `cmd:"" help:"Print the journal's events as JSON lines."`
	Diff     diffCmd     `cmd:"" help:"Tell what changed between two instants, and what caused it."`
	Fork     forkCmd     `cmd:"" help:"Start a new agent from another one's past."`
	Verify   verifyCmd   `cmd:"" help:"Fold the journal and compare it with KV and SQL."`
	Rebuild  rebuildCmd  `cmd:"" help:"Fold a view anew from the journal, beside the running engine."`
	Status   statusCmd   `cmd:"" help:"Show what runs where and how far the views are."`
	Archive  archiveCmd  `cmd:"" help:"Export and import the journal, and trim what is archived."`
	DLQ      dlqCmd      `cmd:"" name:"dlq" help:"List, retry or drop what could not be carried out."`
	Topology topologyCmd `cmd:"" help:"Compare the streams, buckets and consumers with their YAML, and make them so."`
	Demo     demoCmd     `cmd:"" help:"Take the tour, or play recorded agent runs."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

type versionCmd struct{}

func (versionCmd) Run(out *output) error {
	_, err := fmt.Fprintln(out, version)
	return err
}

// output is where a command prints what it was asked for.
type output struct{ io.Writer }

// errFailed ends the program with exit code 1 when everything has been said.
var errFailed = errors.New("failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: arguments in, exit code out.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exited := -1
	k, err := kong.New(&c, kong.Name("engine"), kong.UsageOnError(),
		kong.Description("Tidemark: an event-sourced state engine for multi-agent systems."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&output{stdout}),
		kong.Configuration(loadYAML, configFile(args)...))
	if err != nil {
		fmt.Fprintln(stderr, "engine:", err)
		return exitUsage
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := k.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(stderr, "engine:", err)
		return exitUsage
	}
	if err := parsed.Run(); err != nil {
		if !errors.Is(err, errFailed) {
			fmt.Fprintln(stderr, "engine:", err)
		}
		return exitFailed
	}
	return exitDone
}
