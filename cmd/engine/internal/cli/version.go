package cli

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// ShowVersion prints the versions of the program and, with --server, of the
// engine there.
type ShowVersion struct{ deployment.Target }

// versions is the output of version.
type versions struct {
	Version     string   `json:"version"`
	Commit      string   `json:"commit,omitempty"`
	Go          string   `json:"go"`
	Platform    string   `json:"platform"`
	NATSServer  string   `json:"nats_server"` // embedded
	EventSchema int      `json:"event_schema"`
	SQLSchema   int64    `json:"sql_schema"`
	Export      int      `json:"export_format"`
	Engine      *running `json:"engine,omitempty"`
}

// running are the versions of an engine that --server names.
type running struct {
	Version    string `json:"version"`
	NATSServer string `json:"nats_server"`
}

// Run implements the command.
func (c *ShowVersion) Run(ctx context.Context, version Version, commit Commit, out *Output) error {
	v := versions{
		Version: string(version), Commit: string(commit), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, NATSServer: server.VERSION,
		EventSchema: events.Schema, SQLSchema: pg.SchemaVersion(), Export: export.Version,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v.Commit == "" {
				v.Commit = s.Value
			}
		}
	}
	if c.Server != "" {
		nc, err := c.Connect()
		if err != nil {
			return err
		}
		defer nc.Close()
		s, _, err := c.Status(ctx, nc)
		if err != nil {
			return err
		}
		v.Engine = &running{s.Version, nc.ConnectedServerVersion()}
	}
	return out.Result(v, func() {
		out.Printf("%s\n", v.Version)
		if v.Engine != nil {
			out.Printf("engine %s on nats-server %s\n", v.Engine.Version, v.Engine.NATSServer)
		}
	})
}

// VersionFlag is --version.
type VersionFlag bool

// BeforeReset prints the version and ends the program.
func (f VersionFlag) BeforeReset(k *kong.Context, version Version, commit Commit, out *Output) error {
	if err := (&ShowVersion{}).Run(context.Background(), version, commit, out); err != nil {
		return err
	}
	k.Exit(ExitDone)
	return nil
}
