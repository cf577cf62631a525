package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/app"
)

// Serve runs an engine.
type Serve struct {
	File string `name:"config" help:"YAML file; its keys are the names of these flags." type:"existingfile" env:"TIDEMARK_CONFIG" placeholder:"FILE"`
	app.Config
}

// Run serves until ctx ends, then stops cleanly.
func (c *Serve) Run(ctx context.Context, version Version, out *Output) error {
	e, err := app.Start(ctx, &c.Config, string(version), NewLog(os.Stderr, c.Log, c.LogStyle))
	if err != nil {
		return err
	}
	fmt.Fprint(out, e.Banner())
	Wait(ctx, out, e)
	return nil
}

// Wait serves until ctx ends, then stops the engine.
func Wait(ctx context.Context, out *Output, e *app.Engine) {
	<-ctx.Done()
	fmt.Fprintln(out, "stopping: answering the commands in flight, flushing the views …")
	e.Stop()
	fmt.Fprintln(out, "stopped.")
}
