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

// ServiceConfig of the micro service that commands and queries arrive at.
type Config struct {
	Subjects natsio.Subjects
	Version  string // semantic version of the program
	Commands func(ctx context.Context, req commands.Request, done func(commands.Receipt, error))
	Batch    func(ctx context.Context, body []byte, split func(string) (aggregate, id, verb string, ok bool), done func([]commands.Result, error))
	Queries  func(ctx context.Context, tokens []string, body []byte) ([]byte, error)
	// Observe is told of every answered request: what it was ("commands.agent.set"),
	// what came of it and how long it took.
	Observe func(kind, outcome string, took time.Duration)
	// Replies are the subject prefixes that answers may go to.
	Replies []string
	Log     *slog.Logger
}

// Service answers commands.> and queries.> as the micro service "tidemark", in
// a queue group with every other engine.
type Service struct {
	cfg       Config
	nc        *nats.Conn
	micro     micro.Service
	ctx       context.Context
	cancel    context.CancelFunc
	asking    chan struct{} // bounds the queries under way
	questions chan asked    // to answerers
	open      sync.WaitGroup
}

// maxQueries bounds the queries under way in one engine; beyond it is 429.
const maxQueries = 1024

// Serve starts to answer on nc.
func Serve(nc *nats.Conn, cfg Config) (*Service, error) {
	if len(cfg.Replies) == 0 {
		cfg.Replies = []string{"_INBOX.", "_R_."}
	}
	s := &Service{cfg: cfg, nc: nc, asking: make(chan struct{}, maxQueries), questions: make(chan asked)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var err error
	s.micro, err = micro.AddService(nc, micro.Config{
		Name: "tidemark", Version: cfg.Version,
		Description: "event-sourced state for agents: commands in, receipts and read models out",
	})
	if err != nil {
		return nil, fmt.Errorf("offer the service: %w", err)
	}
	for name, handle := range map[string]micro.HandlerFunc{"commands": s.command, "queries": s.query} {
		subject := cfg.Subjects.Root(name+".") + ">"
		if err := s.micro.AddEndpoint(name, handle, micro.WithEndpointSubject(subject),
			micro.WithEndpointPendingLimits(1<<20, 1<<30)); err != nil {
			return nil, fmt.Errorf("offer %s: %w", subject, err)
		}
	}
	for range answerers {
		go s.answerAll()
	}
	// From here on a request finds the service, not "no responders".
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		s.cancel()
		return nil, fmt.Errorf("offer the service: %w", err)
	}
	return s, nil
}

// Stop takes no more requests and returns when those taken are answered.
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
	if !s.mayAnswer(subject, reply) {
		return
	}
	kind := "commands.unknown"
	s.open.Add(1) // until the answer
	answer := func(receipt commands.Receipt, err error) {
		defer s.open.Done()
		outcome := string(receipt.Outcome)
		if err != nil {
			outcome = s.refuse(reply, err)
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
			"%.256q is not commands.<aggregate>.<id>.<verb>", subject))
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
	if reply == "" || !s.mayAnswer(subject, reply) {
		return
	}
	select {
	case s.asking <- struct{}{}:
	default:
		s.refuse(reply, domain.Errorf(domain.Overloaded, "engine.overloaded",
			"%d queries are under way", maxQueries).With("retry_after_ms", 50))
		return
	}
	s.open.Add(1)
	q := asked{subject, reply, body, start}
	select {
	case s.questions <- q:
	default: // whoever waits for questions is busy
		go s.answer(q)
	}
}

// asked is a query under way.
type asked struct {
	subject, reply string
	body           []byte
	start          time.Time
}

// answerers wait for questions from the start: a goroutine made for each would
// grow its stack anew each time, a seventh of what a quick answer costs.
const answerers = 64

func (s *Service) answerAll() {
	for {
		select {
		case q := <-s.questions:
			s.answer(q)
		case <-s.ctx.Done():
			return
		}
	}
}

// queryTime bounds one query, whose own wait may be up to a minute.
const queryTime = 70 * time.Second

func (s *Service) answer(q asked) {
	defer s.open.Done()
	defer func() { <-s.asking }()
	ctx := newDeadlineContext(s.ctx, q.start.Add(queryTime))
	defer ctx.end()
	outcome := "ok"
	got, err := s.cfg.Queries(ctx, s.tokens(q.subject, "queries."), q.body)
	if err != nil {
		outcome = s.refuse(q.reply, err)
	} else {
		s.reply(q.reply, got)
	}
	s.cfg.Observe("queries", outcome, time.Since(q.start))
}

func (s *Service) tokens(subject, root string) []string {
	return strings.Split(strings.TrimPrefix(subject, s.cfg.Subjects.Root(root)), ".")
}

// mayAnswer keeps a client from having the engine's answer published where the
// client itself may not: only inboxes are answered. Without a reply subject
// there is nothing to answer and nothing to fear.
func (s *Service) mayAnswer(subject, reply string) bool {
	if reply == "" {
		return true
	}
	for _, prefix := range s.cfg.Replies {
		if strings.HasPrefix(reply, prefix) {
			return true
		}
	}
	s.cfg.Log.Warn("a request is dropped: its reply subject is no inbox (reply_prefixes allows others)",
		"subject", subject, "reply", reply)
	return false
}

func (s *Service) reply(to string, body []byte) {
	if to == "" {
		return
	}
	if err := s.nc.Publish(to, body); err != nil {
		s.cfg.Log.Warn("an answer could not be sent", "error", err)
	}
}

// refuse answers with an error and tells its code, for the metrics.
func (s *Service) refuse(to string, err error) string {
	r := natsio.EncodeError(err, s.cfg.Log)
	if to != "" {
		if err := s.nc.PublishMsg(&nats.Msg{Subject: to, Data: r.Body, Header: r.Header}); err != nil {
			s.cfg.Log.Warn("a refusal could not be sent", "error", err)
		}
	}
	return r.Header.Get(micro.ErrorCodeHeader)
}
