package readmodel

import (
	"context"
	"strconv"

	"github.com/tidemark-engine/tidemark/events"
)

// phaseCold is the phase of an agent of whose lifecycle nothing is recorded.
const phaseCold = "cold"

// lifecycle tells an agent's phase from the journal's end, and how much of its
// state SQL does not have yet.
func (q *Questions) lifecycle(ctx context.Context, agent string, in *question) ([]byte, error) {
	if _, err := q.token(in); err != nil {
		return nil, err
	}
	past := q.Tiers.Past
	p := past.Partition(agent)
	d, found, _, err := past.LastDoc(ctx, KindLifecycle, agent, "")
	if err != nil {
		return nil, unavailable("journal", err)
	}
	dirty := -1 // without SQL nothing is ever level
	if q.Tiers.Durable != nil {
		if dirty, err = past.Changed(ctx, agent, q.Tiers.DurableProgress.At(p)); err != nil {
			return nil, unavailable("journal", err)
		}
	}
	b := append(make([]byte, 0, 384), '{')
	if found {
		b = d.append(b)
	} else {
		b = events.AppendString(b, "agent_id", agent)
		b = append(b, `,"phase":"`+phaseCold+`","since":null,"version":0,"revision":0`...)
	}
	b = q.appendLastSeen(ctx, append(b, ','), agent)
	b = append(b, `,"dirty_keys":`...)
	if dirty < 0 {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, int64(dirty), 10)
	}
	return closeAnswer(b, FromJournal, tokenAt(past, p, d.Revision)), nil
}

func (q *Questions) appendLastSeen(ctx context.Context, b []byte, agent string) []byte {
	if q.LastSeen != nil {
		if at, ok := q.LastSeen(ctx, agent); ok {
			return events.AppendTime(b, "last_seen", at)
		}
	}
	return append(b, `"last_seen":null`...)
}
