package app

import (
	"context"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/operations"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/internal/grants"
)

// newConsole makes the web console, which answers from the first moment of a start.
func (e *Engine) newConsole() *console.Console {
	cfg := e.cfg
	flags := ""
	if cfg.Data != "./data" && cfg.Data != "" {
		flags = " --data " + cfg.Data
	}
	e.operations = operations.New(operations.Config{Auth: cfg.Authenticated(), Reader: cfg.ConsolePostgres, Log: e.log})
	return console.New(console.Config{Engine: consoleEngine{e}, Operations: e.operations, Auth: cfg.Authenticated(), Prefix: cfg.SubjectPrefix, Flags: flags, Log: e.log})
}

// operated is the engine as the operations of its console see it.
func (e *Engine) operated() *operations.Engine {
	o := &operations.Engine{
		Stores: e.journal.stores, Managed: e.postgres.Local, Subjects: e.nats.Subjects, Embedded: e.nats.Embedded != nil,
		Topology: e.topology.planner, TopologyFile: e.topology.file,
		Connect: e.nats.Connect, Heads: e.journal.heads, Views: e.views.status, CaughtUp: e.views.caughtUp,
		Access: e.authority.access,
		Refused: func(principal string, missing *grants.Grant) {
			e.authority.refused.WithLabelValues(string(missing.Kind)).Inc()
			e.authority.refusals.Add(principal, missing.String())
		},
	}
	// Only a server with JWTs has checked who signed the credentials.
	if e.nats.Accounts != nil && (e.nats.Embedded != nil || e.nats.Mode == auth.OperatorMode) {
		o.Caller = e.nats.Accounts.Caller
	}
	return o
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
	return e.nats.DialClient("console", who, e.cfg.NATSAccess, func() {})
}

// Health implements console.Engine.
func (e consoleEngine) Health() console.Health {
	report := e.readiness.Report()
	h := console.Health{Version: e.version, Ready: report.Ready, Reasons: report.Reasons()}
	if e.assembled.Load() {
		for _, n := range e.health.deadLetters() {
			h.DeadLetters += n
		}
		h.Verified = e.sampler.LastVerified()
	}
	return h
}

// Series implements console.Engine.
func (e consoleEngine) Series() []console.Sample {
	if !e.assembled.Load() {
		return nil
	}
	return e.sampler.Series()
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
	sum := e.metrics.Executed() // heartbeats are in no journal
	heads := e.journal.lastHeads()
	for _, head := range heads {
		sum += head
	}
	for _, v := range e.views.status(heads) {
		sum += v.Position
	}
	return sum
}
