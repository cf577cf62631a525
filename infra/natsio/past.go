package natsio

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Past is the journal as the read model's last tier.
type Past struct{ *Journal }

var _ readmodel.Past = Past{}

// Last implements readmodel.Past, by the leader.
func (p Past) Last(ctx context.Context, agent, key string) (e readmodel.Entry, found bool, revision uint64, err error) {
	rec, ok, err := p.Journal.Last(ctx, events.StateEntry(agent, key), commands.Linearizable)
	if err != nil || !ok {
		return e, false, 0, err
	}
	change, err := projections.EntryOf(&rec)
	return change.Entry, err == nil && !change.Deleted, rec.Revision, err
}

// AsOf implements readmodel.Past.
func (p Past) AsOf(ctx context.Context, agent, key string, revision uint64, at time.Time) (e readmodel.Entry, found bool, err error) {
	rec, ok, err := p.asOf(ctx, events.StateEntry(agent, key), revision, at)
	if err != nil || !ok {
		return e, false, err
	}
	change, err := projections.EntryOf(&rec)
	return change.Entry, err == nil && !change.Deleted, err
}

// lastUpTo is the last event of a stream within a bound: one request, however
// long the stream.
func (p Past) lastUpTo(ctx context.Context, s events.Stream, upTo jetstreamext.GetLastForOpt) (events.Record, bool, error) {
	part := p.Partition(s.ID())
	msgs, err := jetstreamext.GetLastMsgsFor(ctx, p.js, StreamName(part, p.Partitions()), []string{p.root + string(s)}, upTo)
	if err != nil {
		return events.Record{}, false, fmt.Errorf("read the past of %s: %w", s, err)
	}
	for msg, err := range msgs {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return events.Record{}, false, fmt.Errorf("read the past of %s: %w", s, err)
		}
		rec, err := p.record(part, msg.Subject, msg.Sequence, msg.Data)
		return rec, err == nil, err
	}
	return events.Record{}, false, nil
}

// History implements readmodel.Past: from the end backwards, one request a
// version, so that a page costs the same at any length of the history.
func (p Past) History(ctx context.Context, agent, key string, below uint64, limit int, losers bool) ([]readmodel.Version, error) {
	if below == 0 {
		head, err := p.Head(ctx, p.Partition(agent))
		if err != nil {
			return nil, err
		}
		below = head + 1
	}
	rows, err := p.back(ctx, events.StateEntry(agent, key), below, limit)
	if err != nil || !losers {
		return rows, err
	}
	lost, err := p.back(ctx, events.EntryConflicts(agent, key), below, limit)
	if err != nil {
		return nil, err
	}
	rows = append(rows, lost...)
	sort.Slice(rows, func(i, j int) bool { return rows[i].Revision > rows[j].Revision })
	return rows[:min(limit, len(rows))], nil
}

func (p Past) back(ctx context.Context, s events.Stream, below uint64, limit int) ([]readmodel.Version, error) {
	var rows []readmodel.Version
	for len(rows) < limit && below > 1 {
		rec, ok, err := p.lastUpTo(ctx, s, jetstreamext.GetLastMsgsUpToSeq(below-1))
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		v, err := version(&rec)
		if err != nil {
			return nil, err
		}
		rows, below = append(rows, v), rec.Revision
	}
	return rows, nil
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
