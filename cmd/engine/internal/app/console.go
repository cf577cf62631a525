package app

import (
	"context"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
)

// newConsole makes the web console, which answers from the first moment of a start.
func (e *Engine) newConsole() *console.Console {
	cfg := e.cfg
	flags := ""
	if cfg.Data != "./data" && cfg.Data != "" {
		flags = " --data " + cfg.Data
	}
	e.operations = newConsoleOperations(e)
	return console.New(console.Config{Engine: consoleEngine{e}, Operations: e.operations, Auth: cfg.Authenticated(), Prefix: cfg.SubjectPrefix, Flags: flags, Log: e.log})
}

// consoleEngine is the engine as its console sees it.
type consoleEngine struct{ *Engine }

// Connect implements console.Engine.
func (e consoleEngine) Connect(credentials string) (*nats.Conn, error) {
	if !e.assembled.Load() {
		return nil, console.ErrStarting
	}
	var who []byte
	if credentials != "" {
		who = []byte(credentials)
	}
	return e.nats.dialClient("console", who, e.cfg.NATSAccess, func() {})
}

// Health implements console.Engine.
func (e consoleEngine) Health() console.Health {
	report := e.readiness.Report()
	h := console.Health{Version: e.version, Ready: report.Ready, Reasons: report.Reasons()}
	if e.assembled.Load() {
		for _, n := range e.health.deadLetters() {
			h.DeadLetters += n
		}
		h.Verified = e.sampler.lastVerified()
	}
	return h
}

// Series implements console.Engine.
func (e consoleEngine) Series() []console.Sample {
	if !e.assembled.Load() {
		return nil
	}
	return e.sampler.series()
}

// Leases implements console.Engine.
func (e consoleEngine) Leases(ctx context.Context) ([]console.Lease, error) {
	if !e.assembled.Load() {
		return nil, console.ErrStarting
	}
	if e.views.leases == nil { // no other engine can be there
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	holders, err := e.views.leases.Holders(ctx)
	of := make([]console.Lease, 0, len(holders))
	for _, name := range slices.Sorted(maps.Keys(holders)) {
		of = append(of, console.Lease{Name: name, Holder: holders[name], Here: holders[name] == e.views.leases.ID()})
	}
	return of, err
}

// Changes implements console.Engine.
func (e consoleEngine) Changes() uint64 {
	if !e.assembled.Load() {
		return 0
	}
	sum := e.metrics.tally.commands.Load() // heartbeats are in no journal
	heads := e.journal.lastHeads()
	for _, head := range heads {
		sum += head
	}
	for _, v := range e.views.status(heads) {
		sum += v.Position
	}
	return sum
}
