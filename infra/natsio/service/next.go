package service

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/trace"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// kindNext is the kind of a request on commands.tasks.next.
const kindNext = "commands.tasks.next"

// next answers commands.tasks.next. It may wait like a query, and is limited with them.
func (s *Service) next(m *nats.Msg, from *sender, start time.Time) {
	client := strings.Clone(from.client)
	q := pendingQuery{caller: from.caller, client: client, body: m.Data, size: len(m.Data) + queryRoom, start: start}
	if err := s.admit(&q); err != nil {
		s.refuse(from, len(m.Data), refusal{s.nc, commandsEndpoint, kindNext, m.Reply, err, start})
		return
	}
	s.open.Add(1)
	go func() {
		defer s.open.Done()
		ctx := newDeadlineContext(s.ctx, start.Add(queryTimeout))
		defer ctx.end()
		asking := wait.WithSlot(commands.WithClient(ctx, client), s.slot(client))
		if q.caller != nil {
			asking = identity.With(asking, q.caller)
		}
		if connection := from.connection; connection != 0 && s.cfg.Connected != nil {
			asking = commands.WithConnected(asking, func() bool { return s.cfg.Connected(connection) })
		}
		span, carried := s.cfg.Trace.Receive(natsio.Trace(m.Header), kindNext, start)
		asking = trace.With(asking, carried)
		id, err := natsio.CommandID(m)
		outcome := ""
		var receipt commands.Receipt
		if err == nil {
			receipt, err = s.cfg.Next(asking, id, q.body)
		}
		if err == nil {
			outcome = string(receipt.Outcome)
			s.reply(s.nc, m.Reply, receipt.EncodeNext())
		} else {
			outcome = s.replyError(s.nc, m.Reply, err)
		}
		s.leave(client)
		s.bodies.leave(client, q.size)
		s.observe(commandsEndpoint, kindNext, outcome, err, start)
		natsio.EndSpan(span, outcome, err)
	}()
}
