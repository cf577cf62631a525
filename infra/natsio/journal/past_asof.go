package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// This file finds a stream's last event as of a moment. Times are those that
// events record themselves, so that answers outlive trimming, export and
// import; the server's own times, of when it stored them, only say where to
// begin. Two things are relied on: a trim takes a stream's events from its
// beginning, never from its middle, and leaves the last; and of two events of
// one stream the later is recorded at most a clock skew before the earlier,
// for it was decided after the earlier was stored.

// moment is a place in the past: a revision of the stream's partition or, with
// revision 0, a time.
type moment struct {
	revision uint64
	at       time.Time
}

func (m moment) includes(rec *events.Record) bool {
	if m.revision > 0 {
		return rec.Revision <= m.revision
	}
	return !rec.RecordedAt.After(m.at)
}

// errBehind means that two answers do not fit together: one is of a replica that
// has not stored yet what the leader has, or events were trimmed between them.
var errBehind = domain.Errorf(domain.Unavailable, "journal.behind", "the journal was trimmed while it was read, or a replica of it lags behind its leader: ask again")

func (p Past) skew() time.Duration {
	if p.Skew == 0 {
		return 5 * time.Second
	}
	return p.Skew
}

// asOf is the last event of a stream as of a moment: one request of the leader
// where nothing has happened since, mostly two or three where something has.
func (p Past) asOf(ctx context.Context, s events.Stream, m moment) (events.Record, bool, error) {
	last, ok, err := p.Journal.Last(ctx, s, history.Linearizable)
	if err != nil || !ok || m.includes(&last) {
		return last, ok, err
	}
	find := p.byTime
	if m.revision > 0 {
		find = p.byRevision
	}
	rec, ok, err := find(ctx, s, m, &last)
	if err != nil || ok {
		return rec, ok, err
	}
	first, err := p.first(ctx, s)
	switch {
	case err != nil:
		return rec, false, err
	case m.revision > 0 && m.includes(&first):
		return rec, false, errBehind
	case first.Version == 1:
		return rec, false, nil // then it was not there yet
	}
	return p.archived(ctx, s, m, first.Revision-1)
}

func (p Past) byRevision(ctx context.Context, s events.Stream, m moment, _ *events.Record) (events.Record, bool, error) {
	return p.lastUpTo(ctx, s, natsio.LastQuery{UpToSeq: m.revision})
}

// byTime looks for the last event of a stream that the moment includes and the
// journal still has; last is the stream's end, which it does not include.
func (p Past) byTime(ctx context.Context, s events.Stream, m moment, last *events.Record) (events.Record, bool, error) {
	before := m.at.Add(time.Nanosecond)
	from, ok, err := p.lastUpTo(ctx, s, natsio.LastQuery{UpToTime: &before})
	if err != nil {
		return from, false, err
	}
	if !ok || !m.includes(&from) {
		// Stored later than recorded, as by an import, or under another clock.
		if from, err = p.first(ctx, s); err != nil {
			return from, false, err
		}
		if m.includes(&from) {
			if from, err = p.bisect(ctx, s, m, from, last.Revision); err != nil {
				return from, false, err
			}
		}
	}
	return p.forward(ctx, s, m, from, last)
}

// bisect is an event that the moment includes and whose follower it does not.
func (p Past) bisect(ctx context.Context, s events.Stream, m moment, low events.Record, high uint64) (events.Record, error) {
	for from := low.Revision; high-from > 1; {
		mid := from + (high-from)/2
		rec, ok, err := p.lastUpTo(ctx, s, natsio.LastQuery{UpToSeq: mid})
		switch {
		case err != nil:
			return low, err
		case !ok: // trimmed meanwhile
			return low, errBehind
		case m.includes(&rec):
			low, from = rec, mid
		default:
			high = rec.Revision
		}
	}
	return low, nil
}

// forward is the last event that the moment includes, from one on that no
// included one surely lies before alone: it reads on until every later event
// must have been recorded later.
func (p Past) forward(ctx context.Context, s events.Stream, m moment, from events.Record, last *events.Record) (best events.Record, found bool, err error) {
	enough := m.at.Add(p.skew())
	done, next := false, from.Version
	see := func(rec events.Record) bool {
		if rec.Version != next { // trimmed meanwhile
			return false
		}
		if next++; m.includes(&rec) {
			best, found = rec, true
		}
		done = rec.RecordedAt.After(enough) || rec.Revision >= last.Revision
		return !done
	}
	if see(from) {
		err = p.Scan(ctx, s, from.Revision+1, see)
	}
	if err == nil && !done {
		err = errBehind
	}
	return best, found, err
}

// first is the oldest event of a stream that the journal still has, by the
// leader.
func (p Past) first(ctx context.Context, s events.Stream) (events.Record, error) {
	part := p.Partition(s.ID())
	msg, err := p.leaderGet(ctx, part, `{"seq":1,"next_by_subj":"`+p.root+string(s)+`"}`)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return events.Record{}, errBehind // a stream never loses its last event
	}
	if err != nil {
		return events.Record{}, fmt.Errorf("read the first event of %s: %w", s, err)
	}
	return p.record(part, msg.Subject, msg.Sequence, msg.Data)
}
