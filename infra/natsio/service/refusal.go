package service

import (
	"time"

	"github.com/nats-io/nats.go"
)

// refusal is a request that is not taken.
type refusal struct {
	nc             *nats.Conn
	endpoint, kind string
	to             string // reply subject
	err            error
	start          time.Time
}

// maxRefusals bounds the refusals that wait for their reply.
const maxRefusals = 16 << 10

// refuse has a request of size bytes answered by another goroutine. A publish waits for the
// lock of the connection; on a busy machine that took half a millisecond, and a client that
// floods the engine delayed by its refusals the requests of all others. When maxRefusals
// wait, the caller answers: no refusal is lost, and a client that sends more waits.
//
// A connection that goes on sending all the same is closed: what the server and the engine
// must read of it takes the processors from all others. Its client library connects again.
func (s *Service) refuse(from *sender, size int, r refusal) {
	if s.cfg.Disconnect != nil && from.connection != 0 && s.floods.Refused(from.connection, from.origin, size, r.start) {
		s.log.Warn("client disconnected: it goes on sending while its requests are refused", "client", from.client, "connection", from.connection)
		go s.cfg.Disconnect(from.connection)
	}
	s.open.Add(1)
	select {
	case s.refusals <- r:
	default:
		s.answerRefusal(r)
	}
}

// runRefusals answers refusals until the service stops.
func (s *Service) runRefusals() {
	for {
		select {
		case r := <-s.refusals:
			s.answerRefusal(r)
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Service) answerRefusal(r refusal) {
	defer s.open.Done()
	s.observe(r.endpoint, r.kind, s.replyError(r.nc, r.to, r.err), r.err, r.start)
}
