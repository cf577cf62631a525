package query

import (
	"context"
	"strconv"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// phaseCold is the phase of an agent of whose lifecycle nothing is recorded.
const phaseCold = "cold"

// lifecycle tells an agent's phase from the journal's end, and how much of its
// state SQL does not have yet.
func (q *Query) lifecycle(ctx context.Context, agent string, in *question) ([]byte, error) {
	if _, err := q.token(in); err != nil {
		return nil, err
	}
	b, err := in.bound()
	if err != nil {
		return nil, err
	}
	if b != nil {
		return q.lifecyclePast(ctx, agent, b)
	}
	past := q.Past
	p := past.Partition(agent)
	d, found, _, err := past.LastDoc(ctx, readmodel.KindLifecycle, agent, "")
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	dirty := -1 // without SQL nothing is ever level
	if q.Tiers.Durable != nil {
		if dirty, err = past.Changed(ctx, agent, q.Tiers.DurableProgress.At(p)); err != nil {
			return nil, tiers.Unavailable("journal", err)
		}
	}
	body := appendLifecycle(append(make([]byte, 0, 384), '{'), agent, d, found)
	body = q.appendLastSeen(ctx, append(body, ','), agent)
	body = append(body, `,"dirty_keys":`...)
	if dirty < 0 {
		body = append(body, "null"...)
	} else {
		body = strconv.AppendInt(body, int64(dirty), 10)
	}
	return closeAnswer(body, tiers.FromJournal, tokenAt(past, p, d.Revision)), nil
}

// lifecyclePast tells the phase that an agent had. When it was heard of, and
// what SQL lacked, is on no record.
func (q *Query) lifecyclePast(ctx context.Context, agent string, at *bound) ([]byte, error) {
	var d readmodel.Doc
	var err error
	found := false
	if !at.never {
		d, found, err = q.Past.DocAsOf(ctx, readmodel.KindLifecycle, agent, "", at.moment())
	}
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	b := appendLifecycle(append(make([]byte, 0, 384), '{'), agent, d, found)
	return closeAnswer(b, tiers.FromJournal, tokenAt(q.Past, q.Past.Partition(agent), d.Revision)), nil
}

func appendLifecycle(b []byte, agent string, d readmodel.Doc, found bool) []byte {
	if found {
		return d.Append(b)
	}
	b = events.AppendString(b, "agent_id", agent)
	return append(b, `,"phase":"`+phaseCold+`","since":null,"version":0,"revision":0`...)
}

func (q *Query) appendLastSeen(ctx context.Context, b []byte, agent string) []byte {
	if q.LastSeen != nil {
		if at, ok := q.LastSeen(ctx, agent); ok {
			return events.AppendTime(b, "last_seen", at)
		}
	}
	return append(b, `"last_seen":null`...)
}
