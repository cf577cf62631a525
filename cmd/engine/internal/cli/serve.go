package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/app"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
)

// Serve runs an engine.
type Serve struct {
	File string `name:"config" help:"YAML file; its keys are the names of these flags." type:"existingfile" env:"TIDEMARK_CONFIG" placeholder:"FILE"`
	settings.Config
}

// Run serves until ctx ends, then stops cleanly. SIGHUP reads the TLS files again, or
// stops an engine that has none.
func (c *Serve) Run(ctx context.Context, version Version, out *Output) error {
	var hangup chan os.Signal
	if c.TLS.On() {
		hangup = make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
	} else { // nothing to reload: a terminal that is closed stops the engine
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}
	if err := deployment.KeepData(c.Data); err != nil {
		return err
	}
	e, err := app.Start(ctx, &c.Config, string(version), NewLog(os.Stderr, c.Log, c.LogStyle))
	if err != nil {
		return err
	}
	fmt.Fprint(out.Writer, e.Banner(out.Program.Path))
	for {
		select {
		case <-hangup:
			e.Reload()
			continue
		case <-ctx.Done():
		}
		Wait(ctx, out, e)
		return nil
	}
}

// Wait serves until ctx ends, then stops the engine.
func Wait(ctx context.Context, out *Output, e *app.Engine) {
	<-ctx.Done()
	fmt.Fprintln(out.Writer, "stopping: answering the commands in flight, flushing the views …")
	e.Stop()
	fmt.Fprintln(out.Writer, "stopped.")
}
