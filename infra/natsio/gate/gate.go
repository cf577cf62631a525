// Package gate answers what clients ask of the JetStream API. Streams, buckets
// and consumers belong to the account of the engine: the gate reads them for a
// client within its grants, and makes consumers that cannot change or delay
// anything. Clients without credentials have a small JetStream of their own,
// whose requests pass the gate so that no stream of theirs takes or sends what is
// the engine's.
package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/logs"
)

// Gate is a running gate.
type Gate struct {
	cfg    Config
	log    logs.Limited
	subs   []*nats.Subscription
	ctx    context.Context
	cancel context.CancelFunc
	open   sync.WaitGroup
	turns  turns
	quota  quota

	overload chan func() // refusals that wait for their answer
	floods   natsio.Floods

	recheck chan struct{}
}

const (
	// maxBody bounds the body of a request.
	maxBody = 256 << 10
	// apiTimeout bounds one question to JetStream.
	apiTimeout = 5 * time.Second
)

// Start answers requests until Stop.
func Start(cfg Config) (*Gate, error) {
	g := &Gate{cfg: cfg, log: logs.NewLimited(cfg.Log, logs.ByClients), turns: turns{of: map[string]*line{}}, overload: make(chan func(), maxOverload), quota: newQuota(), recheck: make(chan struct{}, 1)}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	subscribe := func(nc *nats.Conn, subject string, handle nats.MsgHandler) error {
		sub, err := nc.QueueSubscribe(subject, "gate", handle)
		if err == nil {
			g.subs = append(g.subs, sub)
			err = nc.FlushTimeout(apiTimeout)
		}
		return err
	}
	err := subscribe(cfg.Engine, cfg.Subjects.Root("tm.")+"*.api.>", g.ofPrincipal)
	if err == nil && cfg.Dev != nil {
		err = subscribe(cfg.Dev, auth.ProxyRoot+">", g.ofDev)
	}
	if err != nil {
		g.Stop()
		return nil, fmt.Errorf("start the gate to JetStream: %w", err)
	}
	// Without the advisories a consumer is found at the next change of rights.
	if sub, err := cfg.Engine.Subscribe(consumerCreated+">", g.created); err == nil {
		g.subs = append(g.subs, sub)
	}
	g.open.Go(g.rechecks)
	g.open.Go(g.refuses429)
	g.Recheck() // rights may have changed while no gate ran
	return g, nil
}

// Stop answers no more requests and returns when those that are open have ended.
func (g *Gate) Stop() {
	for _, sub := range g.subs {
		_ = sub.Unsubscribe() // the connection may be closed
	}
	g.cancel()
	g.open.Wait()
}

// ofPrincipal takes a request from the account of a principal.
func (g *Gate) ofPrincipal(m *nats.Msg) {
	account, api, ok := strings.Cut(strings.TrimPrefix(m.Subject, g.cfg.Subjects.Root("tm.")), ".api.")
	if !ok || !strings.HasPrefix(m.Reply, natsio.ServiceReply) {
		return
	}
	r := &request{gate: g, api: api, tokens: strings.Split(api, "."), msg: m}
	r.respond = func(answer *nats.Msg) { g.send(g.cfg.Engine, m.Reply, answer) }
	if who, err := natsio.CheckRequester(m.Header, account); err == nil {
		r.caller, r.connection, r.origin = g.cfg.Accounts.Caller(account), who.ID, who.Origin
	}
	if r.caller == nil {
		r.refuse(403, "forbidden: the request does not say who sends it")
		return
	}
	r.access = g.accessOf(r.caller)
	g.serve(r)
}

// accessOf is what a principal may read; nil is none.
func (g *Gate) accessOf(c *identity.Caller) Access {
	switch {
	case c == nil:
	case c.Principal == identity.Operator:
		return Everything{}
	case g.cfg.Access != nil:
		return g.cfg.Access(c)
	}
	return Nothing{}
}

// ofDev takes a request of a client without credentials. Answers go wherever it
// wants, but not where the engine's own messages go.
func (g *Gate) ofDev(m *nats.Msg) {
	api := strings.TrimPrefix(m.Subject, auth.ProxyRoot)
	if m.Reply != "" && g.engines(m.Reply) {
		g.log.Warn("request of the JetStream API dropped: its reply subject belongs to the engine or the server", "request", api, "reply", m.Reply)
		return
	}
	if ack, ok := strings.CutPrefix(m.Subject, auth.AckRoot); ok {
		g.ack(m, ack)
		return
	}
	account := g.cfg.Accounts.Dev()
	r := &request{gate: g, caller: &identity.Caller{Principal: identity.Dev, Account: account}, access: Everything{}, dev: true, api: api, tokens: strings.Split(api, "."), msg: m}
	r.respond = func(answer *nats.Msg) { g.send(g.cfg.Dev, m.Reply, answer) }
	g.serve(r)
}

func (g *Gate) send(nc *nats.Conn, to string, answer *nats.Msg) {
	if to == "" {
		return
	}
	answer.Subject = to
	if err := nc.PublishMsg(answer); err != nil {
		g.log.Warn("an answer of the JetStream API was not sent", "error", err)
	}
}

func (g *Gate) serve(r *request) {
	if r.dev && !g.forGate(r) {
		g.own(r)
		return
	}
	if len(r.msg.Data) > maxBody {
		r.refuse(413, fmt.Sprintf("the body of the request has more than %d bytes", maxBody))
		return
	}
	switch {
	case !r.dev && g.cfg.Rates.Take(r.caller.Principal) != nil: // the clients of DEV share the account
		g.overloaded(r, "this principal sends more requests a second than the engine takes: retry later")
	case !g.turns.enter(r.caller.Account, func() { g.answer(r) }, g.open.Go):
		g.overloaded(r, "as many requests of the JetStream API wait as the engine takes from this account: retry later")
	}
}

// forGate reports whether a request of DEV is about the engine's streams.
func (g *Gate) forGate(r *request) bool {
	return Reserved(r.stream()) || slices.Contains(g.cfg.Free, r.stream()) || r.is("STREAM", "NAMES") || r.is("STREAM", "LIST")
}

// Reserved reports whether a name is of a stream of the engine, whether it is there or not.
func Reserved(stream string) bool {
	switch stream {
	case "EVENTS", "COMMANDS", "OUTCOMES", "DEAD_LETTERS", "TIMERS", "AUDIT", "AGENT_STATE", "TASK_EXECUTION", "AGENT_MESSAGES",
		"KV_AGENT_STATE", "KV_TASK_STATE", "KV_SESSION_DATA", "KV_AGENT_CONFIG", "KV_REMINDER_STATE", "KV_CLAIM_STATE", "KV_QUERY_CACHE":
		return true
	}
	for _, prefix := range []string{"EVENTS_", "KV_TIDEMARK_", "KV_VIEW_", "TIDEMARK_"} {
		if strings.HasPrefix(stream, prefix) {
			return true
		}
	}
	return false
}

// engines reports whether a subject or pattern overlaps what belongs to the engine
// or the server.
func (g *Gate) engines(subject string) bool {
	if g.cfg.Subjects.OwnSubject(subject) != "" {
		return true
	}
	for _, root := range []string{
		g.cfg.Subjects.Root("agents."), g.cfg.Subjects.Root("tasks."), g.cfg.Subjects.Root("messages."), g.cfg.Subjects.Root("tm."),
		auth.ProxyRoot, auth.OwnAPIRoot, auth.Forbidden, natsio.ServiceReply,
	} {
		if natsio.Overlaps(subject, root+">") {
			return true
		}
	}
	return false
}

// answer answers a request about the engine's streams.
func (g *Gate) answer(r *request) {
	stream := r.stream()
	switch {
	case r.is("INFO") && len(r.tokens) == 1:
		r.json(accountInfo)
	case r.is("STREAM", "NAMES"), r.is("STREAM", "LIST"):
		g.streams(r)
	case stream == "": // the subject names none
		r.notForClients()
	case !r.mayRead(stream):
		r.forbidden(stream)
	case r.is("STREAM", "INFO") && len(r.tokens) == 3:
		g.streamInfo(r, stream)
	case r.is("STREAM", "MSG", "GET") && len(r.tokens) == 4:
		g.get(r, stream, "")
	case r.is("DIRECT", "GET") && len(r.tokens) == 3:
		g.get(r, stream, "")
	case r.is("DIRECT", "GET"):
		g.get(r, stream, strings.Join(r.tokens[3:], "."))
	case r.is("CONSUMER", "CREATE"), r.is("CONSUMER", "DURABLE", "CREATE"):
		g.create(r, stream)
	case r.is("CONSUMER", "INFO") && len(r.tokens) == 4, r.is("CONSUMER", "DELETE") && len(r.tokens) == 4:
		g.consumer(r, stream, r.tokens[3])
	case r.is("CONSUMER", "NAMES"), r.is("CONSUMER", "LIST"):
		g.consumers(r, stream)
	case r.is("CONSUMER", "MSG", "NEXT") && len(r.tokens) == 5:
		g.next(r, stream, r.tokens[4])
	default:
		r.notForClients()
	}
}

// keyStream holds the keys of agents. They are wrapped, but who copies them and learns the
// master key later could undo an erasure.
const keyStream = "TIDEMARK_KEYS"

// accountInfo is the answer to INFO: the account has no JetStream of its own.
const accountInfo = `{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0,"storage":0,"reserved_memory":0,"reserved_storage":0,` +
	`"streams":0,"consumers":0,"limits":{"max_memory":0,"max_storage":0,"max_streams":0,"max_consumers":-1,"max_ack_pending":-1,` +
	`"memory_max_stream_bytes":-1,"storage_max_stream_bytes":-1,"max_bytes_required":false},"api":{"level":2,"total":0,"errors":0}}`

// ask asks JetStream in the account of the engine.
func (g *Gate) ask(api string, body []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(g.ctx, apiTimeout)
	defer cancel()
	return g.cfg.Engine.RequestWithContext(ctx, "$JS.API."+api, body)
}

// relay asks JetStream and passes the answer on.
func (g *Gate) relay(r *request, api string, body []byte) {
	answer, err := g.ask(api, body)
	if err != nil {
		r.unavailable(err)
		return
	}
	r.respond(&nats.Msg{Header: answer.Header, Data: answer.Data})
}
