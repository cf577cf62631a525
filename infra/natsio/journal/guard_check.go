package journal

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// CheckOnce checks the journal now and returns why it is lost; nil when it is
// not, or when it does not answer.
func (g *Guard) CheckOnce(ctx context.Context) error {
	g.check(ctx, 1)
	return g.Lost()
}

// check compares every partition. A journal that does not answer is neither lost
// nor found.
func (g *Guard) check(ctx context.Context, enough int) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	seen, accepted, err := g.look(ctx)
	var lost *domain.Error
	if err != nil && !errors.As(err, &lost) {
		return
	}
	g.mu.Lock()
	before, accepts := g.lost.Load(), g.accepted
	if lost != nil {
		if g.suspect++; g.suspect < enough && before == nil {
			g.mu.Unlock()
			return
		}
	} else {
		g.suspect, g.points, g.accepted = 0, seen, accepted
		g.found.Store(before) // until appends are tried again
	}
	g.lost.Store(lost)
	g.mu.Unlock()
	switch {
	case lost != nil && before == nil:
		g.log.Error("the journal is not the one that this engine knows; commands are refused", "error", lost.Message)
		g.setGate()
		g.Changed(true)
	case lost == nil && (before != nil || accepted != accepts):
		g.Changed(false)
		g.setGate()
		g.found.Store(nil)
		g.log.Info("the journal is back or was accepted; commands are executed")
	}
}

// look reads the end of every partition. A *domain.Error means that the journal
// is lost.
func (g *Guard) look(ctx context.Context) (seen []Point, accepted string, err error) {
	g.mu.Lock()
	points, known := append([]Point(nil), g.points...), g.accepted
	g.mu.Unlock()
	seen = make([]Point, len(points))
	infos := make([]*jetstream.StreamInfo, len(points))
	for p := range points {
		acked := g.acked[p].Load() // before the head is read
		info, err := g.j.streams[p].Info(ctx)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, "", domain.Errorf(domain.Unavailable, "journal.missing",
				"the stream %s does not exist any more. Restore it; or restart the engine with --accept-journal, which begins a new journal without the lost events",
				natsio.StreamName(p, len(points)))
		}
		if err != nil {
			return nil, "", err
		}
		infos[p] = info
		meta := info.Config.Metadata
		if id := strings.ToLower(meta[metaIncarnation]); id != g.j.incarnation {
			return nil, "", domain.Errorf(domain.Unavailable, "journal.changed",
				"the stream %s is of journal %q, this engine works on journal %s. Restore that journal, or restart the engine with --accept-journal",
				info.Config.Name, id, g.j.incarnation)
		}
		point := points[p]
		if p == 0 {
			accepted = meta[metaAccepted]
		}
		if meta[metaAccepted] != known {
			point = Point{} // an operator accepted the journal as it is
			g.acked[p].CompareAndSwap(acked, nil)
			g.gone[p].Store(nil)
		} else if acked != nil && acked.Revision > point.Revision {
			point = *acked
		}
		gone := g.gone[p].Load()
		if gone != nil {
			point = *gone
		}
		if seen[p], err = g.compare(ctx, p, info, point); err != nil {
			return nil, "", err
		}
		g.gone[p].CompareAndSwap(gone, nil)
	}
	g.measure(ctx, infos)
	return seen, accepted, nil
}

const lostAdvice = " Restore the journal; or accept it as it is, without the lost events: engine rebuild all --accept-journal"

// compare checks that a partition still has the event at point, and no gap, and
// returns its last event.
func (g *Guard) compare(ctx context.Context, p int, info *jetstream.StreamInfo, point Point) (last Point, err error) {
	s := info.State
	if s.LastSeq < point.Revision {
		return last, domain.Errorf(domain.Unavailable, "journal.rolled_back",
			"partition %d of the journal ends at revision %d, but revision %d was acknowledged: the journal was shortened or restored from an older copy.%s",
			p, s.LastSeq, point.Revision, lostAdvice)
	}
	cut := uint64(0)
	if text := info.Config.Metadata[metaTrimmed]; text != "" {
		if cut, err = strconv.ParseUint(text, 10, 64); err != nil {
			return last, err
		}
	}
	if missing := s.LastSeq - min(cut, s.LastSeq); s.Msgs < missing {
		return last, domain.Errorf(domain.Unavailable, "journal.damaged",
			"partition %d of the journal has lost %d of the events up to revision %d.%s", p, missing-s.Msgs, s.LastSeq, lostAdvice)
	}
	if s.LastSeq == 0 {
		return last, nil
	}
	digest, found, err := g.digestAt(ctx, p, s.LastSeq)
	if err != nil || !found {
		return point, err // trimmed, or purged between the two requests
	}
	last = Point{Revision: s.LastSeq, Digest: digest}
	if point.Revision > 0 && point.Digest != "" && point.Revision != s.LastSeq {
		if digest, found, err = g.digestAt(ctx, p, point.Revision); err != nil {
			return point, err
		} else if !found {
			return last, nil // trimmed since; a gap is noticed above
		}
	}
	if point.Digest != "" && digest != point.Digest {
		return last, domain.Errorf(domain.Unavailable, "journal.rolled_back",
			"revision %d of partition %d has another digest than before: the journal was restored from an older copy.%s", point.Revision, p, lostAdvice)
	}
	return last, nil
}

// digestAt reads the digest of an event from the leader.
func (g *Guard) digestAt(ctx context.Context, p int, revision uint64) (digest string, found bool, err error) {
	msg, err := g.j.leaderGet(ctx, p, `{"seq":`+strconv.FormatUint(revision, 10)+`}`)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	ev, _ := events.Decode(msg.Data) // an entry that is no event has no digest
	return ev.Digest, true, nil
}
