package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/logs"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// Config configures the micro service.
type Config struct {
	Subjects natsio.Subjects
	Version  string // semantic version of the program
	Commands func(ctx context.Context, req commands.Request, done func(commands.Receipt, error))
	Batch    func(ctx context.Context, id string, body []byte, below func(subject string) string, done func([]commands.Result, error))
	Queries  func(ctx context.Context, tokens []string, body []byte) ([]byte, error)
	// Next claims the next task for an agent and may wait for one.
	Next func(ctx context.Context, commandID string, body []byte) (commands.Receipt, error)
	// Observe is called after every reply with the kind of the request
	// ("commands.agent.set"), its outcome or error status, and its duration.
	Observe func(kind, outcome string, took time.Duration)
	// Identify returns who an account of the server belongs to; nil for an account
	// that may not ask. Without Identify all clients share the engine's account.
	Identify func(account string) *identity.Caller
	Rates    *natsio.Rates // of the requests of each client; may be nil
	// Disconnect closes a connection that goes on sending while its requests are refused;
	// nil = it stays.
	Disconnect func(connection uint64)
	// Connected returns whether a connection is open; nil = that is not known.
	Connected func(connection uint64) bool
	// ReplyPrefixes are the prefixes that reply subjects must have; empty = any
	// subject but those of the engine and the server.
	ReplyPrefixes []string
	Limits        Limits
	Trace         *trace.Tracer // nil = no spans
	// QueryConn is a connection for queries, so that these do not wait behind the bytes
	// of commands; nil = the one of commands.
	QueryConn *nats.Conn
	Log       *slog.Logger
}

// Limits bound what requests hold until they are answered; zero values take the
// defaults named here. One client may hold half of a number and a quarter of the bytes.
type Limits struct {
	Commands     int64 // commands and batches without an answer; default 8192
	CommandBytes int64 // of their bodies; default 64 MiB
	Queries      int64 // queries at work; default 1024
	Waiting      int64 // queries that wait for a token or their turn; default 4096
	QueryBytes   int64 // of the bodies of all queries; default 32 MiB
}

func (l Limits) orDefaults() Limits {
	return Limits{
		Commands: cmp.Or(l.Commands, 8192), CommandBytes: cmp.Or(l.CommandBytes, 64<<20),
		Queries: cmp.Or(l.Queries, 1024), Waiting: cmp.Or(l.Waiting, 4096), QueryBytes: cmp.Or(l.QueryBytes, 32<<20),
	}
}

// maxQueryBody is the largest body of a query, in bytes.
const maxQueryBody = 64 << 10

// Service answers commands.> and queries.> as the micro service "tidemark", in one
// queue group with all other engines.
type Service struct {
	cfg       Config
	nc        *nats.Conn   // of commands
	log       logs.Limited // for what clients can repeat
	discovery *discovery
	requests  []*nats.Subscription
	ctx       context.Context
	cancel    context.CancelFunc
	stopping  context.Context // ends the waits of queries
	endWaits  context.CancelFunc

	commands *budget
	reading  *fairQueue // commands whose bodies are to be read
	running  *budget    // queries at work
	waiting  *budget    // queries that wait
	bodies   *budget    // queries of both kinds
	refusals chan refusal
	floods   natsio.Floods
	queries  chan pendingQuery // to the query workers
	free     chan struct{}     // signals that a query has left
	open     sync.WaitGroup
}

// Serve starts the service on nc. The server routes requests to it when Serve
// returns.
func Serve(nc *nats.Conn, cfg Config) (*Service, error) {
	l := cfg.Limits.orDefaults()
	s := &Service{
		cfg: cfg, nc: nc, log: logs.NewLimited(cfg.Log, logs.ByClients), discovery: newDiscovery(cfg.Version, cfg.Subjects), reading: newFairQueue(),
		queries: make(chan pendingQuery), refusals: make(chan refusal, maxRefusals), free: make(chan struct{}, 1),
		commands: newBudget("commands", l.Commands, l.CommandBytes, nc.MaxPayload()),
		running:  newBudget("queries at work", l.Queries, math.MaxInt64, 0),
		waiting:  newBudget("queries that wait", l.Waiting, math.MaxInt64, 0),
		bodies:   newBudget("queries", math.MaxInt64, l.QueryBytes, maxQueryBody),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if s.cfg.QueryConn == nil {
		s.cfg.QueryConn = nc
	}
	s.stopping, s.endWaits = context.WithCancel(context.Background())
	if err := s.serve(); err != nil {
		s.cancel()
		return nil, fmt.Errorf("start the micro service: %w", err)
	}
	return s, nil
}

func (s *Service) serve() error {
	for _, e := range []struct {
		name   string
		nc     *nats.Conn
		handle nats.MsgHandler
	}{{commandsEndpoint, s.nc, s.command}, {queriesEndpoint, s.cfg.QueryConn, s.query}} {
		subject := s.cfg.Subjects.Root(e.name+".") + ">"
		if s.cfg.Identify != nil {
			subject = s.cfg.Subjects.Root("tm.") + "*." + e.name + ".>"
		}
		sub, err := e.nc.QueueSubscribe(subject, queueGroup, e.handle)
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		s.requests = append(s.requests, sub)
		if err := sub.SetPendingLimits(1<<20, pendingBytes); err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	if err := s.discovery.serve(s.cfg.QueryConn, s.replyAllowed); err != nil {
		return err
	}
	go s.runRefusals()
	for range readers {
		go s.reading.run()
	}
	for range queryWorkers {
		go s.runQueries()
	}
	// The server has the subscriptions after a flush; before, a request may get
	// "no responders".
	return errors.Join(s.nc.FlushTimeout(5*time.Second), s.cfg.QueryConn.FlushTimeout(5*time.Second))
}

const (
	// pendingBytes bounds requests that have arrived and that no handler has seen.
	// Handlers only admit or refuse, so these are few; beyond, requests are lost.
	pendingBytes = 256 << 20
	// readers is how many large bodies of commands are read at a time: reading takes
	// a processor, which the others need too.
	readers = 1
	// smallBody is a body that is read at once, in bytes.
	smallBody = 4 << 10
)

// drainTimeout bounds the wait for requests that have arrived and are not yet handled.
const drainTimeout = 5 * time.Second

// Stop accepts no more requests and returns when all accepted ones are answered. Queries
// that wait are answered at once.
func (s *Service) Stop() error {
	s.discovery.stop()
	var failed error
	for _, sub := range s.requests {
		closed := sub.StatusChanged(nats.SubscriptionClosed)
		if err := sub.Drain(); err != nil {
			if !errors.Is(err, nats.ErrBadSubscription) && !errors.Is(err, nats.ErrConnectionClosed) { // stopped before
				failed = errors.Join(failed, err)
			}
			continue
		}
		select {
		case <-closed:
		case <-time.After(drainTimeout):
		}
	}
	s.endWaits()
	s.open.Wait()
	s.reading.close()
	s.cancel()
	return errors.Join(failed, s.nc.FlushTimeout(2*time.Second), s.cfg.QueryConn.FlushTimeout(2*time.Second))
}

func (s *Service) command(m *nats.Msg) {
	start := time.Now()
	from, ok := s.sender(m, "commands.")
	if !ok {
		return
	}
	tokens := strings.Split(from.rest, ".")
	kind := "commands.unknown"
	switch {
	case len(tokens) == 1 && tokens[0] == "batch":
		kind = "commands.batch"
	case len(tokens) == 2 && tokens[0] == "tasks" && tokens[1] == "next":
		kind = kindNext
	case len(tokens) == 3 && commands.Known(tokens[0], tokens[2]):
		kind = "commands." + tokens[0] + "." + tokens[2]
	}
	client, size := from.client, len(m.Data)
	if from.refusal != nil {
		s.refuse(&from, size, refusal{s.nc, commandsEndpoint, kind, m.Reply, from.refusal, start})
		return
	}
	if kind == kindNext {
		s.next(m, &from, start)
		return
	}
	err := s.cfg.Rates.Take(client)
	var holds holding
	if err == nil {
		holds, err = s.commands.enter(client, size)
	}
	if err != nil {
		s.refuse(&from, size, refusal{s.nc, commandsEndpoint, kind, m.Reply, err, start})
		return
	}
	ctx := commands.WithClient(groupcommit.WithLoad(s.ctx, holds.bytes+holds.count<<10), client)
	if from.caller != nil {
		ctx = identity.With(ctx, from.caller)
	}
	span, carried := s.cfg.Trace.Receive(natsio.Trace(m.Header), kind, start)
	ctx = trace.With(ctx, carried)
	s.open.Add(1)
	finish := func(outcome string, err error) {
		s.commands.leave(client, size)
		s.observe(commandsEndpoint, kind, outcome, err, start)
		natsio.EndSpan(span, outcome, err)
		s.open.Done()
	}
	if size <= smallBody && s.reading.idle(client) {
		s.execute(ctx, m, tokens, finish)
		return
	}
	s.reading.add(client, func() { s.execute(ctx, m, tokens, finish) })
}

// execute reads a command or a batch and calls finish after its reply.
func (s *Service) execute(ctx context.Context, m *nats.Msg, tokens []string, finish func(outcome string, err error)) {
	if len(tokens) == 1 && tokens[0] == "batch" {
		s.batch(ctx, m, finish)
		return
	}
	answer := func(receipt commands.Receipt, err error) {
		outcome := string(receipt.Outcome)
		if err != nil {
			outcome = s.replyError(s.nc, m.Reply, err)
		} else {
			s.reply(s.nc, m.Reply, receipt.Encode())
		}
		finish(outcome, err)
	}
	aggregate, id, verb, err := commands.ParseSubject(strings.Join(tokens, "."))
	var commandID string
	if err == nil {
		commandID, err = natsio.CommandID(m)
	}
	if err != nil {
		answer(commands.Receipt{}, err)
		return
	}
	s.cfg.Commands(ctx, commands.Request{Aggregate: aggregate, ID: id, Verb: verb, CommandID: commandID, Body: m.Data}, answer)
}
