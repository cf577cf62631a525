package service

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

func (s *Service) query(m *nats.Msg) {
	if m.Reply == "" {
		return
	}
	from, ok := s.sender(m, "queries.")
	if !ok {
		return
	}
	q := pendingQuery{tokens: strings.Split(from.rest, "."), caller: from.caller, reply: m.Reply, client: from.client, body: m.Data, size: len(m.Data) + queryRoom, start: time.Now()}
	err := from.refusal
	if err == nil {
		err = s.admit(&q)
	}
	if err != nil {
		s.refuse(&from, len(m.Data), refusal{s.cfg.QueryConn, queriesEndpoint, "queries", q.reply, err, q.start})
		return
	}
	s.open.Add(1)
	select {
	case s.queries <- q:
	default: // all workers are busy
		go s.handleQuery(q)
	}
}

// admit takes a query, before its body is read.
func (s *Service) admit(q *pendingQuery) error {
	if len(q.body) > maxQueryBody {
		return domain.Errorf(domain.TooLarge, "body.too_large", "the body has %d bytes, at most %d are accepted for a query", len(q.body), maxQueryBody)
	}
	if err := s.cfg.Rates.Take(q.client); err != nil {
		return err
	}
	if _, err := s.bodies.enter(q.client, q.size); err != nil {
		return err
	}
	if _, err := s.running.enter(q.client, 0); err != nil {
		s.bodies.leave(q.client, q.size)
		return err
	}
	return nil
}

// pendingQuery is an accepted query without a reply.
type pendingQuery struct {
	tokens        []string
	caller        *identity.Caller
	reply, client string
	body          []byte
	size          int
	start         time.Time
}

const (
	// queryRoom is what a query takes besides its body, in bytes.
	queryRoom = 1 << 10
	// queryWorkers is the number of goroutines that wait for queries. A goroutine per
	// query would grow its stack each time, which is a seventh of the cost of a fast
	// query.
	queryWorkers = 64
)

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
	ctx := newDeadlineContext(s.ctx, q.start.Add(queryTimeout))
	defer ctx.end()
	outcome := "ok"
	// gofail: var queryReceived struct{}
	asking := wait.WithSlot(ctx, s.slot(q.client))
	if q.caller != nil {
		asking = identity.With(asking, q.caller)
	}
	got, err := s.cfg.Queries(asking, q.tokens, q.body)
	if most := s.cfg.QueryConn.MaxPayload(); err == nil && int64(len(got)) > most {
		err = domain.Errorf(domain.TooLarge, "answer.too_large", "the answer has %d bytes, and the max_payload of the NATS server is %d: raise that, or ask for less", len(got), most)
	}
	if err != nil {
		outcome = s.replyError(s.cfg.QueryConn, q.reply, err)
	} else {
		s.reply(s.cfg.QueryConn, q.reply, got)
	}
	s.leave(q.client)
	s.bodies.leave(q.client, q.size)
	s.observe(queriesEndpoint, "queries", outcome, err, q.start)
}

// slot is the place of a query among those at work. A query that waits leaves it, and
// has a place among those that wait instead.
func (s *Service) slot(client string) *wait.Slot {
	return &wait.Slot{
		Leave: func() error {
			if _, err := s.waiting.enter(client, 0); err != nil {
				return err
			}
			s.leave(client)
			return nil
		},
		Enter: func() {
			s.waiting.leave(client, 0)
			for {
				if _, err := s.running.enter(client, 0); err == nil {
					s.signal() // there may be room for more
					return
				}
				<-s.free
			}
		},
		Stop: s.stopping,
	}
}

// leave ends a query's work, or its work before a wait.
func (s *Service) leave(client string) {
	s.running.leave(client, 0)
	s.signal()
}

// signal wakes one query that has waited and wants to go on.
func (s *Service) signal() {
	select {
	case s.free <- struct{}{}:
	default:
	}
}
