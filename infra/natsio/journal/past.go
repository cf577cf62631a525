package journal

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// Past is the journal as the read model's last tier, together with the archive
// of what was trimmed from it.
type Past struct {
	*Journal
	Archive history.Archive // nil = without SQL: what was trimmed cannot be answered
	Skew    time.Duration   // how far the clocks of engines may differ; 0 = 5 s
}

var _ tiers.Past = Past{}

// Last implements readmodel.Past, by the leader.
func (p Past) Last(ctx context.Context, agent, key string) (e readmodel.Entry, found bool, revision uint64, err error) {
	rec, ok, err := p.Journal.Last(ctx, events.StateEntry(agent, key), history.Linearizable)
	if err != nil || !ok {
		return e, false, 0, err
	}
	change, err := readmodel.EntryOf(&rec)
	return change.Entry, err == nil && !change.Deleted, rec.Revision, err
}

// AsOf implements readmodel.Past.
func (p Past) AsOf(ctx context.Context, agent, key string, revision uint64, at time.Time) (e readmodel.Entry, found bool, err error) {
	rec, ok, err := p.asOf(ctx, events.StateEntry(agent, key), moment{revision, at})
	if err != nil || !ok {
		return e, false, err
	}
	change, err := readmodel.EntryOf(&rec)
	return change.Entry, err == nil && !change.Deleted, err
}

// EntriesAsOf implements readmodel.Past.
func (p Past) EntriesAsOf(ctx context.Context, agent string, keys []string, revision uint64, at time.Time) ([]readmodel.Entry, error) {
	streams := make([]events.Stream, len(keys))
	for i, key := range keys {
		streams[i] = events.StateEntry(agent, key)
	}
	recs, err := p.lasts(ctx, events.AgentStates(agent), streams, moment{revision, at})
	if err != nil {
		return nil, err
	}
	rows := make([]readmodel.Entry, 0, len(recs))
	for i := range recs {
		change, err := readmodel.EntryOf(&recs[i])
		if err != nil {
			return nil, err
		}
		if !change.Deleted {
			rows = append(rows, change.Entry)
		}
	}
	return rows, nil
}

// lastUpTo is the last event of a stream within a bound that the journal still
// has: one request, however long the stream.
func (p Past) lastUpTo(ctx context.Context, s events.Stream, upTo natsio.LastQuery) (events.Record, bool, error) {
	part := p.Partition(s.ID())
	upTo.Subjects = []string{p.root + string(s)}
	msgs, err := upTo.Ask(ctx, p.nc, natsio.StreamName(part, p.Partitions()))
	if err != nil {
		return events.Record{}, false, fmt.Errorf("read the past of %s: %w", s, err)
	}
	if len(msgs) == 0 {
		return events.Record{}, false, nil
	}
	rec, err := p.record(part, msgs[0].Subject, msgs[0].Sequence, msgs[0].Data)
	return rec, err == nil, err
}

// History implements readmodel.Past.
func (p Past) History(ctx context.Context, agent, key string, below uint64, limit int, losers bool) ([]readmodel.Version, error) {
	recs, err := p.back(ctx, events.StateEntry(agent, key), below, limit)
	if err != nil {
		return nil, err
	}
	if losers {
		lost, err := p.back(ctx, events.EntryConflicts(agent, key), below, limit)
		if err != nil {
			return nil, err
		}
		recs = append(recs, lost...)
		sort.Slice(recs, func(i, j int) bool { return recs[i].Revision > recs[j].Revision })
		recs = recs[:min(limit, len(recs))]
	}
	rows := make([]readmodel.Version, len(recs))
	for i := range recs {
		if rows[i], err = version(&recs[i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// back are a stream's events below a revision (0 = from the end), newest first:
// from the end backwards, one request each, so that a page costs the same at
// any length of the history; what was trimmed, in one from the archive.
func (p Past) back(ctx context.Context, s events.Stream, below uint64, limit int) (recs []events.Record, err error) {
	var rec events.Record
	var ok bool
	switch below {
	case 0:
		rec, ok, err = p.Journal.Last(ctx, s, history.Linearizable)
	case 1:
		return nil, nil
	default:
		rec, ok, err = p.asOf(ctx, s, moment{revision: below - 1})
	}
	for err == nil && ok {
		if recs = append(recs, rec); len(recs) == limit || rec.Version == 1 || rec.Revision == 1 {
			return recs, nil
		}
		last := rec
		if rec, ok, err = p.lastUpTo(ctx, s, natsio.LastQuery{UpToSeq: last.Revision - 1}); err == nil && !ok {
			old, err := p.archivedBack(ctx, &last, limit-len(recs))
			return append(recs, old...), err
		}
		if err == nil && rec.Version != last.Version-1 {
			err = errBehind
		}
	}
	return recs, err
}

// version is one line of history.
func version(rec *events.Record) (readmodel.Version, error) {
	v := readmodel.Version{CommandID: rec.CommandID, Entry: readmodel.Entry{
		Agent: rec.ID, Key: rec.Key, Timestamp: rec.Timestamp, Writer: rec.Writer,
		Version: rec.Version, Revision: rec.Revision, UpdatedAt: rec.RecordedAt, Digest: rec.Digest,
	}}
	switch rec.Type {
	case events.StateSet, events.StateDeleted:
		d, err := events.DecodeStateWrite(rec.Data)
		v.Value, v.Kind = d.Value, "set"
		if rec.Type == events.StateDeleted {
			v.Kind = "deleted"
		}
		return v, err
	}
	l, err := events.DecodeStateLoss(rec.Data)
	v.Value, v.Kind, v.Reason = l.Value, "superseded", l.Reason
	v.Version = l.CurrentVersion // the version it lost against
	if rec.Type == events.StateRejected {
		v.Kind = "rejected"
	}
	return v, err
}
