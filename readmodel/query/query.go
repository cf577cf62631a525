package query

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// Query answers the requests on queries.>.
type Query struct {
	Tiers  *tiers.Tiers
	Rows   Rows
	Status func(ctx context.Context) ([]byte, error) // queries.engine.status
	Cache  QueryCache                                // nil = lists are always computed
	// Acknowledged returns the last revision of a partition that this engine has
	// acknowledged; nil = it acknowledges none.
	Acknowledged func(partition int) uint64
	// LastSeen returns the time of an agent's last sign of life; nil = not tracked.
	LastSeen func(ctx context.Context, agent string) (time.Time, bool)
	// Command returns the receipt or error of a durable command; nil = none are stored.
	Command func(ctx context.Context, id string) ([]byte, error)

	// Search says which entries queries.state.find may search; nil = none.
	Search *readmodel.Search

	// MaxAnswer is the size of the largest answer that can be sent, in bytes; nil = any.
	MaxAnswer func() int64
	// Tail is how far this engine has read the journal: events.read waits for it.
	Tail tiers.Progress

	// Declared are the declared views; nil = without SQL.
	Declared DeclaredViews

	// Prefix is that of all subjects, ending in a dot; empty = none.
	Prefix string

	// Authority decides what the sender may read; nil = everything.
	Authority Authority

	pages turns
	ahead ahead
}

// handler answers one query; lists may be answered from the cache.
type handler struct {
	fields string // members that the query takes; others are refused
	check  func(id string) error
	answer func(*Query, context.Context, string, *request) ([]byte, error)
	list   func(*Query, context.Context, string, *request) (*page, error)
}

// handlers are the queries by "<noun>.<query>".
var handlers = map[string]handler{
	"agent.get":        {fields: "key token wait_ms consistency at_revision at_time", check: domain.CheckAgentID, answer: (*Query).agentGet},
	"agent.history":    {fields: "key limit cursor losers", check: domain.CheckAgentID, answer: (*Query).agentHistory},
	"agent.lifecycle":  {fields: "token wait_ms at_revision at_time", check: domain.CheckAgentID, answer: (*Query).lifecycle},
	"agent.entries":    {fields: "prefix limit cursor token wait_ms max_age_ms at_revision at_time", check: domain.CheckAgentID, list: (*Query).agentEntries},
	"agent.timeline":   {fields: "limit cursor from to", check: domain.CheckAgentID, list: (*Query).timeline},
	"agent.diff":       {fields: "limit cursor from to", check: domain.CheckAgentID, list: (*Query).diff},
	"agents.list":      {fields: "phase prefix limit cursor token wait_ms max_age_ms", list: (*Query).agentsList},
	"task.get":         {fields: "token wait_ms at_revision at_time", check: checkTask, answer: docGet(readmodel.KindTask)},
	"task.history":     {fields: "limit cursor", check: checkTask, answer: docHistory(readmodel.KindTask)},
	"tasks.list":       {fields: "status agent_id kind prefix limit cursor token wait_ms max_age_ms", list: docList(readmodel.KindTask, checkTask, byStatus("created", "started", "completed", "failed", "cancelled"), byAgent, byKind)},
	"session.get":      {fields: "token wait_ms at_revision at_time", check: checkSession, answer: docGet(readmodel.KindSession)},
	"session.history":  {fields: "limit cursor", check: checkSession, answer: docHistory(readmodel.KindSession)},
	"sessions.list":    {fields: "owner status prefix limit cursor token wait_ms max_age_ms", list: docList(readmodel.KindSession, checkSession, byStatus("open", "closed", "expired"), byOwner)},
	"claim.get":        {fields: "token wait_ms at_revision at_time", check: checkClaim, answer: docGet(readmodel.KindClaim)},
	"claim.history":    {fields: "limit cursor", check: checkClaim, answer: docHistory(readmodel.KindClaim)},
	"claims.list":      {fields: "owner status prefix limit cursor token wait_ms max_age_ms", list: docList(readmodel.KindClaim, checkClaim, byStatus("held", "released", "expired"), byOwner)},
	"reminder.get":     {fields: "token wait_ms at_revision at_time", check: checkReminder, answer: docGet(readmodel.KindReminder)},
	"reminder.history": {fields: "limit cursor", check: checkReminder, answer: docHistory(readmodel.KindReminder)},
	"reminders.list":   {fields: "status agent_id prefix limit cursor token wait_ms max_age_ms", list: docList(readmodel.KindReminder, checkReminder, byStatus("active", "done", "cancelled"), byAgent)},
	"view.definition":  {fields: "token wait_ms at_revision at_time", check: view.CheckName, answer: docGet(readmodel.KindView)},
	"view.history":     {fields: "limit cursor", check: view.CheckName, answer: docHistory(readmodel.KindView)},
	"views.list":       {fields: "status prefix limit cursor token wait_ms max_age_ms", list: docList(readmodel.KindView, view.CheckName, byStatus("defined", "removed"))},
	"config.get":       {fields: "key token wait_ms at_revision at_time", check: domain.CheckAgentID, answer: docGet(readmodel.KindConfig)},
	"config.history":   {fields: "key limit cursor", check: domain.CheckAgentID, answer: docHistory(readmodel.KindConfig)},
	"config.entries":   {fields: "prefix limit cursor token wait_ms max_age_ms at_revision at_time", check: domain.CheckAgentID, list: (*Query).configEntries},
	"state.find":       {fields: "agent_prefix key key_prefix contains path text limit cursor token wait_ms", list: (*Query).stateFind},
	"message.inbox":    {fields: "kind broadcasts unread limit cursor token wait_ms max_age_ms", check: domain.CheckAgentID, list: (*Query).inbox},
	"message.history":  {fields: "limit cursor", check: domain.CheckAgentID, answer: docHistory(readmodel.KindInbox)},
	"view.get":         {fields: "key token wait_ms", check: view.CheckName, answer: (*Query).viewGet},
	"view.list":        {fields: "where limit cursor token wait_ms", check: view.CheckName, list: (*Query).viewList},
	"events.read":      {fields: "subject from until partition limit wait_ms", answer: (*Query).eventsRead},
}

func checkTask(id string) error     { return domain.CheckID("task id", id) }
func checkReminder(id string) error { return domain.CheckID("reminder id", id) }
func checkSession(id string) error  { return domain.CheckID("session id", id) }
func checkClaim(id string) error    { return domain.CheckID("claim id", id) }

// Ask answers the request on queries.<tokens>. Errors are *domain.Error. A query may wait
// long: when the grants of its sender have changed meanwhile, it is answered again, by those
// of now.
func (q *Query) Ask(ctx context.Context, tokens []string, body []byte) ([]byte, error) {
	for {
		var by *grants.Set
		answer, err := q.ask(ctx, tokens, body, &by)
		if by == nil || by.Unrestricted() || by == q.Authority.Grants(ctx) || ctx.Err() != nil {
			return answer, err
		}
	}
}

// ask is Ask once; by are then the grants that have permitted the query.
func (q *Query) ask(ctx context.Context, tokens []string, body []byte, by **grants.Set) ([]byte, error) {
	var name, id string
	if len(tokens) == 3 {
		name, id = tokens[0]+"."+tokens[2], tokens[1]
	} else {
		name = strings.Join(tokens, ".")
	}
	if name == "engine.status" && len(tokens) == 2 {
		if err := domain.DecodeBody(body, &struct{}{}); err != nil {
			return nil, err
		}
		return q.Status(ctx)
	}
	if name == "command.get" && id != "" && q.Command != nil {
		if err := domain.DecodeBody(body, &struct{}{}); err != nil {
			return nil, err
		}
		return q.Command(ctx, id)
	}
	if len(tokens) > 3 {
		last := len(tokens) - 1
		known := tokens[0] + "." + tokens[last]
		if handlers[known].check != nil || known == "command.get" {
			return nil, domain.DottedID(tokens[0]+" id", tokens[1:last])
		}
	}
	h, ok := handlers[name]
	if !ok || (h.check != nil) != (len(tokens) == 3) {
		return nil, q.unknown(tokens)
	}
	permission, err := q.permit(ctx, name, id)
	if err != nil {
		return nil, err
	}
	*by = permission.set
	if h.check != nil {
		if err := h.check(id); err != nil {
			return nil, err
		}
	}
	if err := q.permitView(ctx, permission, name, id); err != nil {
		return nil, err
	}
	in, err := readRequest(body, h.fields)
	if err == nil {
		err = permission.key(ctx, in)
	}
	if err == nil {
		err = q.holder(ctx, permission, id)
	}
	if err != nil {
		return nil, err
	}
	in.permission = permission
	if h.list != nil || name == "events.read" || strings.HasSuffix(name, ".history") {
		paged, leave, err := q.pages.take(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
		ctx = paged
	}
	if h.list != nil {
		return q.cached(ctx, name+" "+id+permission.cacheName(), in, func() (*page, error) { return h.list(q, ctx, id, in) })
	}
	return h.answer(q, ctx, id, in)
}

// Names are the queries of the contract as "<noun>.<query>", in no order.
func Names() []string {
	return append(slices.Collect(maps.Keys(handlers)), "command.get", "engine.status")
}

// unknown lists the queries of the noun that was asked for, or all nouns.
func (q *Query) unknown(tokens []string) error {
	var known []string
	nouns := map[string]bool{"command": true, "engine": true}
	for name, h := range handlers {
		noun, query, _ := strings.Cut(name, ".")
		if nouns[noun] = true; h.check != nil {
			query = "<id>." + query
		}
		if noun == tokens[0] {
			known = append(known, noun+"."+query)
		}
	}
	if len(known) == 0 {
		known = slices.Collect(maps.Keys(nouns))
	}
	slices.Sort(known)
	there := "there are "
	if len(known) == 1 {
		there = "there is only "
	}
	return domain.Errorf(domain.NotFound, "query.unknown", "there is no query %.128q: %s; commands go to %scommands.>",
		strings.Join(tokens, "."), there+strings.Join(known, ", "), q.Prefix)
}
