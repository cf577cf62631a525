package query

import (
	"context"
	"strconv"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// phaseCold is the phase of an agent without a recorded lifecycle.
const phaseCold = "cold"

// lifecycle returns an agent's phase from the last event, and the number of its keys that SQL does
// not have yet.
func (q *Query) lifecycle(ctx context.Context, agent string, in *request) ([]byte, error) {
	if _, err := q.token(in); err != nil {
		return nil, err
	}
	b, err := in.pastPoint()
	if err != nil {
		return nil, err
	}
	if b != nil {
		return q.lifecycleAsOf(ctx, agent, b)
	}
	hist := q.Rows
	p := hist.Partition(agent)
	reached, err := q.atEnd(ctx, in, p)
	if err != nil {
		return nil, err
	}
	d, found, _, err := hist.LastDoc(ctx, readmodel.KindLifecycle, agent, "")
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	dirty := -1 // unknown without SQL
	if q.Tiers.Durable != nil {
		if dirty, err = hist.Changed(ctx, agent, q.Tiers.DurableProgress.At(p)); err != nil {
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
	return closeAnswer(body, tiers.FromJournal, tokenAt(hist, p, max(d.Revision, reached))), nil
}

// lifecycleAsOf returns the phase that an agent had. Last-seen time and dirty keys of the past are
// not recorded.
func (q *Query) lifecycleAsOf(ctx context.Context, agent string, at *pastPoint) ([]byte, error) {
	var d readmodel.Doc
	var err error
	found := false
	if !at.beforeAll {
		d, found, err = q.Rows.DocAsOf(ctx, readmodel.KindLifecycle, agent, "", at.moment())
	}
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	b := appendLifecycle(append(make([]byte, 0, 384), '{'), agent, d, found)
	return closeAnswer(b, tiers.FromJournal, tokenAt(q.Rows, q.Rows.Partition(agent), d.Revision)), nil
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
