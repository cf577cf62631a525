package app

import (
	"context"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/infra/natsio/service"
	"github.com/tidemark-engine/tidemark/infra/pg/outbox"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/readmodel/query"
)

// queryService is the NATS micro service that answers commands and queries.
type queryService struct {
	*service.Service
	log *slog.Logger
}

func startService(e *Engine, nc, queries *nats.Conn) (*queryService, error) {
	q := &query.Query{
		Tiers: e.model.tiers, Rows: e.model.rows, Cache: e.buckets.cache, Status: e.statusFor, Tail: e.model.tail, MaxAnswer: queries.MaxPayload, Authority: e.authority,
		LastSeen: e.commands.lastSeen, Command: e.intake.Outcome, Acknowledged: e.commands.handler.Acknowledged,
		Search: e.cfg.Search.Of(), Prefix: e.nats.Subjects.Root(""),
	}
	if e.views.declared != nil {
		q.Declared = e.views.declared
	}
	cfg := service.Config{
		Subjects: e.nats.Subjects, Version: semver(e.version),
		Commands: e.commands.handler.Handle, Batch: e.commands.handler.HandleBatch, Queries: q.Ask, Next: e.commands.tasks.Next,
		Identify: e.nats.Identify(), Rates: e.limits.Rates, Observe: e.metrics.Answered, ReplyPrefixes: e.cfg.ReplyPrefixes, Limits: e.limits.Requests(e.cfg.LimitsInFlight), QueryConn: queries, Trace: e.tracer, Log: e.log,
	}
	cfg.Disconnect = e.disconnect()
	if e.nats.Embedded != nil {
		cfg.Connected = e.nats.Embedded.Connected
	}
	s, err := service.Serve(nc, cfg)
	if err != nil {
		return nil, err
	}
	return &queryService{s, e.log}, nil
}

// disconnect is how to close the connection of a client that floods the engine; nil = the
// server is not its own.
func (e *Engine) disconnect() func(connection uint64) {
	if e.nats.Embedded == nil {
		return nil
	}
	return func(connection uint64) {
		e.metrics.Flooded()
		e.nats.Embedded.Disconnect(connection)
	}
}

func (s *queryService) stop(context.Context) {
	if err := s.Stop(); err != nil {
		s.log.Warn("the service did not stop cleanly", "error", err)
	}
}

var semverForm = regexp.MustCompile(`^v?(\d+\.\d+\.\d+)`)

// semver is the version in the form that a micro service needs.
func semver(v string) string {
	if m := semverForm.FindStringSubmatch(v); m != nil {
		return m[1]
	}
	return "0.0.0"
}

// intakeQueue executes the enqueued commands and runs the reactors.
type intakeQueue struct{ *intake.Intake }

func startIntake(e *Engine, rs []reactors.Reactor) (*intakeQueue, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cfg := intake.Config{
		Subjects: e.nats.Subjects, Connect: e.nats.Dial, Send: behind(e.commands.handler.Send), Observe: e.metrics.Answered,
		Reactors: rs, Journal: e.journal.history, DeadLetterAge: e.cfg.DeadLettersRetention, Log: e.log,
		Identify: e.nats.Identify(), Rates: e.limits.Rates, Trace: e.tracer,
	}
	if e.nats.Accounts != nil {
		cfg.Dev = e.nats.Accounts.Dev()
	}
	if e.nats.Embedded != nil {
		cfg.Room = e.guard.Room
	}
	in, err := intake.Start(ctx, cfg)
	return &intakeQueue{in}, err
}

// queued is the load of a durable command or one of the outbox. No client waits for its
// receipt, so it goes behind those of clients.
const queued = 1 << 20

func behind(send reactors.Send) reactors.Send {
	return func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
		if !req.Internal {
			ctx = groupcommit.WithLoad(ctx, queued)
		}
		return send(ctx, req)
	}
}

func (q *intakeQueue) stop(context.Context) { q.Close() }

// startOutbox executes the commands in agents.outbox.
func startOutbox(e *Engine) (stop func(context.Context)) {
	o := &outbox.Outbox{
		DB: e.postgres.DB, Prefix: e.nats.Subjects.Root(""), BodyBytes: e.cfg.LimitsBody, Caller: e.outboxCaller, Log: e.log,
	}
	o.Report = func(err error) {
		if err == nil {
			e.readiness.Set("outbox", readiness.OK, "")
			return
		}
		e.readiness.Set("outbox", readiness.Degraded, "its rows are not relayed: "+servers.WithoutAddresses(err).Error())
	}
	o.Handle = func(ctx context.Context, req commands.Request, done func(commands.Receipt, error)) {
		e.commands.handler.Handle(groupcommit.WithLoad(ctx, queued), req, done)
	}
	return lifecycle.InBackground(o.Run)
}
