package readmodel

import (
	"context"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
)

// Questions answers what arrives on queries.>: it reads the question, asks the
// tiers and encodes the answer.
type Questions struct {
	Tiers  *Tiers
	Status func(ctx context.Context) ([]byte, error) // queries.engine.status
}

// Limits of a page, and of waiting for a token.
const (
	defaultLimit = 100
	maxLimit     = 1000
	defaultWait  = 2 * time.Second
	maxWait      = 60 * time.Second
)

type question struct {
	Key         string  `json:"key"`
	Prefix      string  `json:"prefix"`
	Limit       int     `json:"limit"`
	Cursor      string  `json:"cursor"`
	Token       string  `json:"token"`
	WaitMS      *int    `json:"wait_ms"`
	Consistency string  `json:"consistency"`
	AtRevision  *uint64 `json:"at_revision"`
	AtTime      string  `json:"at_time"`
	Losers      bool    `json:"losers"`
	Phase       string  `json:"phase"`
}

// handlers is the table of questions: "<noun>.<question>" and the fields it
// takes; everything else in a body is refused.
var handlers = map[string]struct {
	fields string
	answer func(*Questions, context.Context, string, *question) ([]byte, error)
}{
	"agent.get":     {"key token wait_ms consistency at_revision at_time", (*Questions).agentGet},
	"agent.entries": {"prefix limit cursor token wait_ms", (*Questions).agentEntries},
	"agent.history": {"key limit cursor losers", (*Questions).agentHistory},
}

// Ask answers queries.<tokens>. Errors are *domain.Error.
func (q *Questions) Ask(ctx context.Context, tokens []string, body []byte) ([]byte, error) {
	switch name := strings.Join(tokens, "."); name {
	case "engine.status":
		if err := domain.DecodeBody(body, &struct{}{}); err != nil {
			return nil, err
		}
		return q.Status(ctx)
	case "agents.list":
		return q.agentsList(ctx, body)
	}
	if len(tokens) != 3 {
		return nil, unknownQuery(tokens)
	}
	h, ok := handlers[tokens[0]+"."+tokens[2]]
	if !ok {
		return nil, unknownQuery(tokens)
	}
	if err := domain.CheckAgentID(tokens[1]); err != nil {
		return nil, err
	}
	in, err := readQuestion(body, h.fields)
	if err != nil {
		return nil, err
	}
	return h.answer(q, ctx, tokens[1], in)
}

func unknownQuery(tokens []string) error {
	return domain.Errorf(domain.NotFound, "query.unknown", "there is no query %.128q", strings.Join(tokens, "."))
}

func readQuestion(body []byte, fields string) (*question, error) {
	var in question
	if err := domain.DecodeBody(body, &in); err != nil {
		return nil, err
	}
	if err := onlyFields(body, fields); err != nil {
		return nil, err
	}
	switch {
	case in.Limit < 0 || in.Limit > maxLimit:
		return nil, domain.Errorf(domain.Invalid, "limit.invalid", "limit must be 1 to %d", maxLimit)
	case in.Limit == 0:
		in.Limit = defaultLimit
	}
	if in.WaitMS != nil && (*in.WaitMS < 0 || time.Duration(*in.WaitMS)*time.Millisecond > maxWait) {
		return nil, domain.Errorf(domain.Invalid, "wait_ms.invalid", "wait_ms must be 0 to %d", maxWait.Milliseconds())
	}
	return &in, nil
}

// after reads the token: the revision that the agent's partition must have
// reached, and a context that ends when waiting for it does.
func (q *Questions) after(ctx context.Context, in *question, partition int) (context.Context, context.CancelFunc, uint64, error) {
	wait := defaultWait
	if in.WaitMS != nil {
		wait = time.Duration(*in.WaitMS) * time.Millisecond
	}
	if in.Token == "" {
		return ctx, func() {}, 0, nil
	}
	past := q.Tiers.Past
	t, err := domain.ParseToken(in.Token, past.Incarnation(), past.Partitions())
	if err != nil {
		return ctx, func() {}, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	return ctx, cancel, t.Positions[partition], nil
}

func (q *Questions) agentGet(ctx context.Context, agent string, in *question) ([]byte, error) {
	if err := domain.CheckKey(in.Key); err != nil {
		return nil, err
	}
	if in.AtRevision != nil || in.AtTime != "" {
		return q.agentGetPast(ctx, agent, in)
	}
	c := Consistency(in.Consistency)
	switch c {
	case "":
		c = Cached
	case Cached, Hot, Durable, Strong:
	default:
		return nil, domain.Errorf(domain.Invalid, "consistency.unknown",
			"consistency %.32q is not one of cached, hot, durable, strong", in.Consistency)
	}
	p := q.Tiers.Past.Partition(agent)
	waiting, cancel, after, err := q.after(ctx, in, p)
	defer cancel()
	if err != nil {
		return nil, err
	}
	a, err := q.Tiers.Get(waiting, agent, in.Key, c, after)
	if err != nil {
		return nil, err
	}
	return a.encode(tokenAt(q.Tiers.Past, p, a.AsOf)), nil
}

func (q *Questions) agentGetPast(ctx context.Context, agent string, in *question) ([]byte, error) {
	var revision uint64
	var at time.Time
	var err error
	switch {
	case in.AtRevision != nil && in.AtTime != "":
		return nil, domain.Errorf(domain.Invalid, "body.invalid", "at_revision and at_time exclude each other")
	case in.AtRevision != nil && *in.AtRevision == 0:
		return nil, notFound(agent, in.Key) // before the first event there was nothing
	case in.AtRevision != nil:
		revision = *in.AtRevision
	default:
		if at, err = parseTime(in.AtTime); err != nil {
			return nil, err
		}
	}
	e, found, err := q.Tiers.Past.AsOf(ctx, agent, in.Key, revision, at)
	if err != nil {
		return nil, unavailable("journal", err)
	}
	if !found {
		return nil, notFound(agent, in.Key)
	}
	a := Answer{Entry: e, Source: FromJournal, AsOf: e.Revision}
	return a.encode(tokenAt(q.Tiers.Past, q.Tiers.Past.Partition(agent), e.Revision)), nil
}

// agentEntries lists from SQL, or from the journal where SQL does not answer.
func (q *Questions) agentEntries(ctx context.Context, agent string, in *question) ([]byte, error) {
	p := q.Tiers.Past.Partition(agent)
	waiting, cancel, after, err := q.after(ctx, in, p)
	defer cancel()
	if err != nil {
		return nil, err
	}
	if q.Tiers.Durable != nil {
		rows, position, err := q.Tiers.Durable.Entries(waiting, p, agent, in.Prefix, in.Cursor, in.Limit+1)
		if err == nil && position < after {
			if !q.Tiers.DurableProgress.Wait(waiting, p, after) {
				return nil, behind("sql", after, position)
			}
			rows, position, err = q.Tiers.Durable.Entries(waiting, p, agent, in.Prefix, in.Cursor, in.Limit+1)
		}
		if err == nil {
			rows, cursor := cut(rows, in.Limit)
			return encodeEntries(rows, FromSQL, cursor, tokenAt(q.Tiers.Past, p, position)), nil
		}
	}
	return q.entriesFromJournal(ctx, agent, in)
}

func cut(rows []Entry, limit int) ([]Entry, string) {
	if len(rows) <= limit {
		return rows, ""
	}
	return rows[:limit], rows[limit-1].Key
}

func (q *Questions) entriesFromJournal(ctx context.Context, agent string, in *question) ([]byte, error) {
	var rows []Entry
	var newest uint64
	after := in.Cursor
	for len(rows) <= in.Limit {
		keys, err := q.Tiers.Past.Keys(ctx, agent, in.Prefix, after, in.Limit+1)
		if err != nil {
			return nil, unavailable("journal", err)
		}
		for _, key := range keys {
			e, found, revision, err := q.Tiers.Past.Last(ctx, agent, key)
			if err != nil {
				return nil, unavailable("journal", err)
			}
			if newest = max(newest, revision); found {
				rows = append(rows, e)
			}
			after = key
		}
		if len(keys) <= in.Limit {
			break
		}
	}
	rows, cursor := cut(rows, in.Limit)
	return encodeEntries(rows, FromJournal, cursor, tokenAt(q.Tiers.Past, q.Tiers.Past.Partition(agent), newest)), nil
}

func (q *Questions) agentHistory(ctx context.Context, agent string, in *question) ([]byte, error) {
	if err := domain.CheckKey(in.Key); err != nil {
		return nil, err
	}
	below := uint64(0)
	if in.Cursor != "" {
		var err error
		if below, err = strconv.ParseUint(in.Cursor, 10, 64); err != nil || below == 0 {
			return nil, domain.Errorf(domain.Invalid, "cursor.invalid", "%.64q is not a cursor of this query", in.Cursor)
		}
	}
	rows, err := q.Tiers.Past.History(ctx, agent, in.Key, below, in.Limit+1, in.Losers)
	if err != nil {
		return nil, unavailable("journal", err)
	}
	if len(rows) == 0 && in.Cursor == "" {
		return nil, notFound(agent, in.Key)
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Revision > rows[j].Revision })
	cursor := ""
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		cursor = strconv.FormatUint(rows[len(rows)-1].Revision, 10)
	}
	newest := uint64(0)
	if len(rows) > 0 {
		newest = rows[0].Revision
	}
	return encodeHistory(rows, cursor, tokenAt(q.Tiers.Past, q.Tiers.Past.Partition(agent), newest)), nil
}

func (q *Questions) agentsList(ctx context.Context, body []byte) ([]byte, error) {
	in, err := readQuestion(body, "phase prefix limit cursor")
	if err != nil {
		return nil, err
	}
	switch in.Phase {
	case "", phaseCold:
	case "hydrating", "active", "flushing", "expired":
		return encodeAgents(nil, ""), nil // nothing of a lifecycle is recorded yet
	default:
		return nil, domain.Errorf(domain.Invalid, "phase.unknown",
			"phase %.32q is not one of cold, hydrating, active, flushing, expired", in.Phase)
	}
	if q.Tiers.Durable == nil {
		return nil, domain.Errorf(domain.Unavailable, "sql.off", "this engine runs without SQL, which lists are answered from")
	}
	rows, err := q.Tiers.Durable.Agents(ctx, in.Prefix, in.Cursor, in.Limit+1)
	if err != nil {
		return nil, unavailable("sql", err)
	}
	cursor := ""
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		cursor = rows[len(rows)-1].ID
	}
	return encodeAgents(rows, cursor), nil
}
