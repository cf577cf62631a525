package service

import (
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

func (s *Service) observe(endpoint, kind, outcome string, err error, start time.Time) {
	took, failed := time.Since(start), ""
	if err != nil {
		failed = outcome
		var known *domain.Error
		if errors.As(err, &known) {
			failed += ":" + known.Code
		}
	}
	s.discovery.answered(endpoint, failed, took)
	s.cfg.Observe(kind, outcome, took)
}

// replyAllowed reports whether the service may publish to a reply subject. The
// subjects of the engine and the server are not allowed: otherwise a client could
// make the engine write where the client must not. Inboxes have any other prefix
// that their clients choose. A request without a reply subject is allowed and gets
// no reply.
func (s *Service) replyAllowed(subject, reply string) bool {
	if s.cfg.Identify != nil {
		return reply == "" || strings.HasPrefix(reply, natsio.ServiceReply)
	}
	allowed := reply == ""
	for _, prefix := range s.cfg.ReplyPrefixes {
		allowed = allowed || strings.HasPrefix(reply, prefix)
	}
	if len(s.cfg.ReplyPrefixes) == 0 && reply != "" {
		allowed = s.cfg.Subjects.OwnSubject(reply) == "" && !strings.ContainsAny(reply, "*>")
		for _, root := range []string{"agents.", "tasks.", "messages."} { // the feeds
			allowed = allowed && !strings.HasPrefix(reply, s.cfg.Subjects.Root(root))
		}
	}
	if !allowed {
		s.log.Warn("request dropped: its reply subject belongs to the engine or the server, or is not in reply_prefixes",
			"subject", subject, "reply", reply)
	}
	return allowed
}

func (s *Service) reply(nc *nats.Conn, to string, body []byte) {
	if to == "" {
		return
	}
	// gofail: var reply struct{}
	// return
	if err := nc.Publish(to, body); err != nil {
		s.log.Warn("sending a reply failed", "error", err)
	}
}

// replyError replies with an error and returns its status code, for the metrics.
func (s *Service) replyError(nc *nats.Conn, to string, err error) string {
	r := natsio.EncodeError(err, s.cfg.Log)
	if to != "" {
		if err := nc.PublishMsg(&nats.Msg{Subject: to, Data: r.Body, Header: r.Header}); err != nil {
			s.log.Warn("sending an error reply failed", "error", err)
		}
	}
	return r.Header.Get(micro.ErrorCodeHeader)
}
