package query

import (
	"context"
	"sort"
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// This file answers what is asked about one state entry.

// after reads the token: the revision that the partition must have reached,
// and a context that ends when waiting for it does.
func (q *Query) after(ctx context.Context, in *question, partition int) (context.Context, context.CancelFunc, uint64, error) {
	t, err := q.token(in)
	if err != nil || in.Token == "" {
		return ctx, func() {}, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, in.wait())
	return ctx, cancel, t.Positions[partition], nil
}

// token reads the question's token, if it has one: 400 token.invalid or
// token.foreign.
func (q *Query) token(in *question) (domain.Token, error) {
	if in.Token == "" {
		return domain.Token{}, nil
	}
	return domain.ParseToken(in.Token, q.Past.Incarnation(), q.Past.Partitions())
}

func (in *question) wait() time.Duration {
	if in.WaitMS == nil {
		return defaultWait
	}
	return time.Duration(*in.WaitMS) * time.Millisecond
}

// bound is a place in the past: a revision or, where that is 0, a time.
type bound struct {
	revision uint64
	at       time.Time
	never    bool // before the first event, when there was nothing
}

func (b *bound) moment() history.Moment { return history.Moment{Revision: b.revision, At: b.at} }

// lastTime is later than any event: servers count times in nanoseconds, which
// end in 2262.
var lastTime = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)

// bound is what at_revision and at_time ask for; nil = the present.
func (in *question) bound() (*bound, error) {
	switch {
	case in.AtRevision != nil && in.AtTime != "":
		return nil, domain.Errorf(domain.Invalid, "body.invalid", "at_revision and at_time exclude each other")
	case in.AtRevision != nil:
		return &bound{revision: *in.AtRevision, never: *in.AtRevision == 0}, nil
	case in.AtTime != "":
		at, err := parseTime(in.AtTime)
		if at.After(lastTime) {
			at = lastTime
		}
		return &bound{at: at, never: at.Before(time.Unix(0, 0))}, err
	}
	return nil, nil
}

// keys are the names there may have been: none before the first event.
func (b *bound) keys(all func(after string, limit int) ([]string, error)) func(string, int) ([]string, error) {
	if b != nil && b.never {
		return func(string, int) ([]string, error) { return nil, nil }
	}
	return all
}

func (q *Query) agentGet(ctx context.Context, agent string, in *question) ([]byte, error) {
	if err := domain.CheckKey(in.Key); err != nil {
		return nil, err
	}
	c := tiers.Consistency(in.Consistency)
	switch c {
	case "":
		c = tiers.Cached
	case tiers.Cached, tiers.Hot, tiers.Durable, tiers.Strong:
	default:
		return nil, domain.Errorf(domain.Invalid, "consistency.unknown",
			"consistency %.32q is not one of cached, hot, durable, strong", in.Consistency)
	}
	past, err := in.bound()
	if err != nil {
		return nil, err
	}
	p := q.Past.Partition(agent)
	waiting, cancel, after, err := q.after(ctx, in, p)
	defer cancel()
	if err != nil {
		return nil, err
	}
	if past != nil {
		return q.agentGetPast(ctx, agent, in.Key, past)
	}
	a, err := q.Tiers.Get(waiting, agent, in.Key, c, after)
	if err != nil {
		return nil, err
	}
	return encodeAnswer(&a, tokenAt(q.Past, p, a.AsOf)), nil
}

func (q *Query) agentGetPast(ctx context.Context, agent, key string, b *bound) ([]byte, error) {
	if b.never {
		return nil, tiers.NotFound(agent, key)
	}
	e, found, err := q.Past.AsOf(ctx, agent, key, b.moment())
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	if !found {
		return nil, tiers.NotFound(agent, key)
	}
	a := tiers.Answer{Entry: e, Source: tiers.FromJournal, AsOf: e.Revision}
	return encodeAnswer(&a, tokenAt(q.Past, q.Past.Partition(agent), e.Revision)), nil
}

func (q *Query) agentHistory(ctx context.Context, agent string, in *question) ([]byte, error) {
	if err := domain.CheckKey(in.Key); err != nil {
		return nil, err
	}
	below, err := in.below()
	if err != nil {
		return nil, err
	}
	rows, err := q.Past.Versions(ctx, agent, in.Key, below, in.limit+1, in.Losers)
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	if len(rows) == 0 && in.Cursor == "" {
		return nil, tiers.NotFound(agent, in.Key)
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Revision > rows[j].Revision })
	rows, cursor := cut(rows, in.limit, func(v *readmodel.Version) (string, int) {
		return strconv.FormatUint(v.Revision, 10), len(v.Value)
	})
	newest := uint64(0)
	if len(rows) > 0 {
		newest = rows[0].Revision
	}
	return encodeHistory(rows, cursor, tokenAt(q.Past, q.Past.Partition(agent), newest)), nil
}

// below is the revision that a page of history lies below; 0 = from the end.
func (in *question) below() (uint64, error) {
	if in.Cursor == "" {
		return 0, nil
	}
	below, err := strconv.ParseUint(in.Cursor, 10, 64)
	if err != nil || below == 0 {
		return 0, badCursor(in.Cursor)
	}
	return below, nil
}
