package service

import (
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// sender is who sent a request, and what it asks for.
type sender struct {
	caller     *identity.Caller // nil where all clients share an account
	client     string           // names the principal, else the connection: limits count by it
	rest       string           // the subject below its root
	connection uint64           // its number at the server; 0 = not known
	origin     string           // its account and host
	refusal    error            // of a request that does not say who sends it
}

// sender reads the subject and the sender of a request. A request whose reply
// subject is not allowed is dropped.
func (s *Service) sender(m *nats.Msg, root string) (from sender, ok bool) {
	if s.cfg.Identify == nil {
		if !s.replyAllowed(m.Subject, m.Reply) {
			return from, false
		}
		return sender{client: clientOf(m.Reply), rest: strings.TrimPrefix(m.Subject, s.cfg.Subjects.Root(root))}, true
	}
	if m.Reply != "" && !strings.HasPrefix(m.Reply, natsio.ServiceReply) {
		s.log.Warn("request dropped: it did not come through the account of a client", "subject", m.Subject, "reply", m.Reply)
		return from, false
	}
	account, rest, _ := strings.Cut(strings.TrimPrefix(m.Subject, s.cfg.Subjects.Root("tm.")), ".")
	from.rest = strings.TrimPrefix(rest, root)
	who, err := natsio.CheckRequester(m.Header, account)
	if err == nil {
		from.client, from.connection, from.origin = who.Client, who.ID, who.Origin
		if from.caller = s.cfg.Identify(account); from.caller != nil {
			from.client = from.caller.Client(who.Client)
		}
	}
	if _, unreadable := natsio.CommandID(m); m.Header == nil && unreadable != nil {
		from.refusal = unreadable // the server cannot add to such a header
		return from, true
	}
	if from.caller == nil {
		s.log.Warn("request refused: it is not known who sends it", "subject", m.Subject, "error", err)
		from.refusal = domain.Errorf(domain.Forbidden, "forbidden", "it is not known who sends this request: connect with credentials of this engine")
	}
	return from, true
}
