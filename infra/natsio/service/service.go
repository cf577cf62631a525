package service

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Config configures the micro service.
type Config struct {
	Subjects natsio.Subjects
	Version  string // semantic version of the program
	Commands func(ctx context.Context, req commands.Request, done func(commands.Receipt, error))
	Batch    func(ctx context.Context, body []byte, split func(string) (aggregate, id, verb string, ok bool), done func([]commands.Result, error))
	Queries  func(ctx context.Context, tokens []string, body []byte) ([]byte, error)
	// Observe is called after every reply with the kind of the request
	// ("commands.agent.set"), its outcome or error status, and its duration.
	Observe func(kind, outcome string, took time.Duration)
	// ReplyPrefixes are the prefixes that reply subjects must have; empty =
	// "_INBOX." and "_R_.".
	ReplyPrefixes []string
	Log           *slog.Logger
}

// Service answers commands.> and queries.> as the micro service "tidemark", in one
// queue group with all other engines.
type Service struct {
	cfg        Config
	nc         *nats.Conn
	micro      micro.Service
	ctx        context.Context
	cancel     context.CancelFunc
	querySlots chan struct{}     // limits concurrent queries
	queries    chan pendingQuery // to the query workers
	open       sync.WaitGroup
}

// maxQueries limits the concurrent queries of one engine; more get status 429.
const maxQueries = 1024

// Serve starts the service on nc. The server routes requests to it when Serve
// returns.
func Serve(nc *nats.Conn, cfg Config) (*Service, error) {
	if len(cfg.ReplyPrefixes) == 0 {
		cfg.ReplyPrefixes = []string{"_INBOX.", "_R_."}
	}
	s := &Service{cfg: cfg, nc: nc, querySlots: make(chan struct{}, maxQueries), queries: make(chan pendingQuery)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var err error
	s.micro, err = micro.AddService(nc, micro.Config{
		Name: "tidemark", Version: cfg.Version,
		Description: "event-sourced state for agents: commands in, receipts and read models out",
	})
	if err != nil {
		return nil, fmt.Errorf("start the micro service: %w", err)
	}
	for name, handle := range map[string]micro.HandlerFunc{"commands": s.command, "queries": s.query} {
		subject := cfg.Subjects.Root(name+".") + ">"
		if err := s.micro.AddEndpoint(name, handle, micro.WithEndpointSubject(subject),
			micro.WithEndpointPendingLimits(1<<20, 1<<30)); err != nil {
			return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	for range queryWorkers {
		go s.runQueries()
	}
	// The server has the subscriptions after a flush; before, a request may get
	// "no responders".
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		s.cancel()
		return nil, fmt.Errorf("start the micro service: %w", err)
	}
	return s, nil
}

// Stop accepts no more requests and returns when all accepted ones are answered.
func (s *Service) Stop() error {
	err := s.micro.Stop()
	s.open.Wait()
	s.cancel()
	if ferr := s.nc.FlushTimeout(2 * time.Second); err == nil {
		err = ferr
	}
	return err
}

func (s *Service) command(r micro.Request) {
	start := time.Now()
	subject, reply := r.Subject(), r.Reply()
	tokens := s.tokens(subject, "commands.")
	if !s.replyAllowed(subject, reply) {
		return
	}
	kind := "commands.unknown"
	s.open.Add(1)
	answer := func(receipt commands.Receipt, err error) {
		defer s.open.Done()
		outcome := string(receipt.Outcome)
		if err != nil {
			outcome = s.replyError(reply, err)
		} else {
			s.reply(reply, receipt.Encode())
		}
		s.cfg.Observe(kind, outcome, time.Since(start))
	}
	if len(tokens) == 1 && tokens[0] == "batch" {
		s.batch(reply, r.Data(), start)
		return
	}
	if len(tokens) != 3 {
		answer(commands.Receipt{}, domain.Errorf(domain.NotFound, "command.unknown",
			"subject %.256q does not have the form commands.<aggregate>.<id>.<verb>", subject))
		return
	}
	if commands.Known(tokens[0], tokens[2]) {
		kind = "commands." + tokens[0] + "." + tokens[2]
	}
	s.cfg.Commands(s.ctx, commands.Request{
		Aggregate: tokens[0], ID: tokens[1], Verb: tokens[2],
		CommandID: r.Headers().Get(nats.MsgIdHdr), Body: r.Data(),
	}, answer)
}

func (s *Service) query(r micro.Request) {
	start := time.Now()
	subject, reply, body := r.Subject(), r.Reply(), r.Data()
	if reply == "" || !s.replyAllowed(subject, reply) {
		return
	}
	select {
	case s.querySlots <- struct{}{}:
	default:
		s.replyError(reply, domain.Errorf(domain.Overloaded, "engine.overloaded",
			"the engine already runs %d queries: retry later", maxQueries).With("retry_after_ms", 50))
		return
	}
	s.open.Add(1)
	q := pendingQuery{subject, reply, body, start}
	select {
	case s.queries <- q:
	default: // all workers are busy
		go s.handleQuery(q)
	}
}

// pendingQuery is an accepted query without a reply.
type pendingQuery struct {
	subject, reply string
	body           []byte
	start          time.Time
}

// queryWorkers is the number of goroutines that wait for queries. A goroutine per
// query would grow its stack each time, which is a seventh of the cost of a fast
// query.
const queryWorkers = 64

func (s *Service) runQueries() {
	for {
		select {
		case q := <-s.queries:
			s.handleQuery(q)
		case <-s.ctx.Done():
			return
		}
	}
}

// queryTimeout limits one query; a query may wait for a token for up to a minute.
const queryTimeout = 70 * time.Second

func (s *Service) handleQuery(q pendingQuery) {
	defer s.open.Done()
	defer func() { <-s.querySlots }()
	ctx := newDeadlineContext(s.ctx, q.start.Add(queryTimeout))
	defer ctx.end()
	outcome := "ok"
	got, err := s.cfg.Queries(ctx, s.tokens(q.subject, "queries."), q.body)
	if err != nil {
		outcome = s.replyError(q.reply, err)
	} else {
		s.reply(q.reply, got)
	}
	s.cfg.Observe("queries", outcome, time.Since(q.start))
}

func (s *Service) tokens(subject, root string) []string {
	return strings.Split(strings.TrimPrefix(subject, s.cfg.Subjects.Root(root)), ".")
}

// replyAllowed reports whether the service may publish to a reply subject. Only
// inboxes are allowed: otherwise a client could make the engine publish to a
// subject for which the client has no permission. A request without a reply
// subject is allowed and gets no reply.
func (s *Service) replyAllowed(subject, reply string) bool {
	if reply == "" {
		return true
	}
	for _, prefix := range s.cfg.ReplyPrefixes {
		if strings.HasPrefix(reply, prefix) {
			return true
		}
	}
	s.cfg.Log.Warn("request dropped: its reply subject is not an inbox (add its prefix to reply_prefixes to allow it)",
		"subject", subject, "reply", reply)
	return false
}

func (s *Service) reply(to string, body []byte) {
	if to == "" {
		return
	}
	if err := s.nc.Publish(to, body); err != nil {
		s.cfg.Log.Warn("sending a reply failed", "error", err)
	}
}

// replyError replies with an error and returns its status code, for the metrics.
func (s *Service) replyError(to string, err error) string {
	r := natsio.EncodeError(err, s.cfg.Log)
	if to != "" {
		if err := s.nc.PublishMsg(&nats.Msg{Subject: to, Data: r.Body, Header: r.Header}); err != nil {
			s.cfg.Log.Warn("sending an error reply failed", "error", err)
		}
	}
	return r.Header.Get(micro.ErrorCodeHeader)
}
