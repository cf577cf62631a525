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

// after reads the token: the revision that the partition must have reached, and a context that
// ends with the wait for it.
func (q *Query) after(ctx context.Context, in *request, partition int) (context.Context, context.CancelFunc, uint64, error) {
	t, err := q.token(in)
	if err != nil || in.Token == "" {
		return ctx, func() {}, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, in.wait())
	return ctx, cancel, t.Positions[partition], nil
}

// atEnd waits until the journal has the request's token, for an answer from its end, and returns
// the token's position, which the answer has reached: 503 read.behind when the wait ends before.
func (q *Query) atEnd(ctx context.Context, in *request, partition int) (uint64, error) {
	t, err := q.token(in)
	if err != nil {
		return 0, err
	}
	wanted, reached := t.Positions[partition], q.acknowledged(partition)
	if q.Tail != nil {
		reached = max(reached, q.Tail.At(partition))
	}
	if wanted <= reached {
		return wanted, nil
	}
	head, err := q.Rows.Head(ctx, partition)
	switch {
	case err != nil:
		return 0, tiers.Unavailable("journal", err)
	case wanted <= head:
		return wanted, nil
	case q.Tail == nil:
		return 0, tiers.Behind(tiers.FromJournal, wanted, head)
	}
	waiting, cancel := context.WithTimeout(ctx, in.wait())
	defer cancel()
	return wanted, tiers.Reach(waiting, tiers.FromJournal, q.Tail, partition, wanted)
}

// token parses the request's token, if there is one: 400 token.invalid or token.foreign.
func (q *Query) token(in *request) (domain.Token, error) {
	if in.Token == "" {
		return domain.Token{}, nil
	}
	return domain.ParseToken(in.Token, q.Rows.Incarnation(), q.Rows.Partitions())
}

// key returns the key that a request must have: 400 body.missing_field, key.invalid.
func (in *request) key() (string, error) {
	if in.Key == nil {
		return "", domain.MissingField("key")
	}
	return *in.Key, domain.CheckKey(*in.Key)
}

func (in *request) wait() time.Duration {
	if in.WaitMS == nil {
		return defaultWait
	}
	return time.Duration(*in.WaitMS) * time.Millisecond
}

// pastPoint is a position in the past: a revision or, when that is 0, a time.
type pastPoint struct {
	revision  uint64
	at        time.Time
	beforeAll bool // before the first event
}

func (b *pastPoint) moment() history.Moment { return history.Moment{Revision: b.revision, At: b.at} }

// lastTime is later than any event: the server stores times as nanoseconds in an int64, which ends
// in 2262.
var lastTime = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)

// pastPoint parses at_revision and at_time; nil = the present.
func (in *request) pastPoint() (*pastPoint, error) {
	switch {
	case in.AtRevision != nil && in.AtTime != "":
		return nil, domain.Errorf(domain.Invalid, "body.invalid", "at_revision and at_time exclude each other")
	case in.AtRevision != nil:
		return &pastPoint{revision: *in.AtRevision, beforeAll: *in.AtRevision == 0}, nil
	case in.AtTime != "":
		at, err := domain.ParseTime("at_time", in.AtTime)
		if at.After(lastTime) {
			at = lastTime
		}
		return &pastPoint{at: at, beforeAll: at.Before(time.Unix(0, 0))}, err
	}
	return nil, nil
}

// keys returns all, or no names before the first event.
func (b *pastPoint) keys(all func(after string, limit int) ([]string, error)) func(string, int) ([]string, error) {
	if b != nil && b.beforeAll {
		return func(string, int) ([]string, error) { return nil, nil }
	}
	return all
}

func (q *Query) agentGet(ctx context.Context, agent string, in *request) ([]byte, error) {
	key, err := in.key()
	if err != nil {
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
	then, err := in.pastPoint()
	if err != nil {
		return nil, err
	}
	p := q.Rows.Partition(agent)
	waiting, cancel, after, err := q.after(ctx, in, p)
	defer cancel()
	if err != nil {
		return nil, err
	}
	if then != nil {
		return q.agentGetAsOf(ctx, agent, key, then)
	}
	if c == tiers.Strong {
		waiting = ctx // the token bounds the wait for it, not the read
		if after, err = q.atEnd(ctx, in, p); err != nil {
			return nil, err
		}
	}
	a, err := q.Tiers.Get(waiting, agent, key, c, after)
	if err != nil {
		return nil, err
	}
	return encodeAnswer(&a, tokenAt(q.Rows, p, max(a.AsOf, after))), nil
}

func (q *Query) agentGetAsOf(ctx context.Context, agent, key string, b *pastPoint) ([]byte, error) {
	if b.beforeAll {
		return nil, tiers.NotFound(agent, key)
	}
	e, found, err := q.Rows.AsOf(ctx, agent, key, b.moment())
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	if !found {
		return nil, tiers.NotFound(agent, key)
	}
	a := tiers.Answer{Entry: e, Source: tiers.FromJournal, AsOf: e.Revision}
	return encodeAnswer(&a, tokenAt(q.Rows, q.Rows.Partition(agent), e.Revision)), nil
}

func (q *Query) agentHistory(ctx context.Context, agent string, in *request) ([]byte, error) {
	key, err := in.key()
	if err != nil {
		return nil, err
	}
	below, err := in.below()
	if err != nil {
		return nil, err
	}
	rows, err := q.Rows.Versions(ctx, agent, key, below, in.limit+1, in.Losers)
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	if len(rows) == 0 && in.Cursor == "" {
		return nil, tiers.NotFound(agent, key)
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Revision > rows[j].Revision })
	rows, cursor := paginate(rows, in.limit, func(v *readmodel.Version) (string, int) {
		return strconv.FormatUint(v.Revision, 10), len(v.Value)
	})
	newest := uint64(0)
	if len(rows) > 0 {
		newest = rows[0].Revision
	}
	return encodeHistory(rows, cursor, tokenAt(q.Rows, q.Rows.Partition(agent), newest)), nil
}

// below is the revision below which a page of history begins; 0 = from the end.
func (in *request) below() (uint64, error) {
	if in.Cursor == "" {
		return 0, nil
	}
	below, err := strconv.ParseUint(in.Cursor, 10, 64)
	if err != nil || below == 0 {
		return 0, badCursor(in.Cursor)
	}
	return below, nil
}
