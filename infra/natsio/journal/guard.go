package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Point is an event that the journal had: its revision in a partition and its
// digest; an empty digest is unknown.
type Point struct {
	Revision uint64 `json:"revision"`
	Digest   string `json:"digest,omitempty"`
}

// Guard compares the journal on the server with what this engine knows of it. It
// notices a journal that was deleted, replaced, shortened or restored from an
// older copy, and one that has no room. While it refuses, commands fail with
// status 503.
type Guard struct {
	j   *Journal
	log *slog.Logger
	// Changed is called when the journal is lost, and when it is back or
	// accepted. Set it before Run.
	Changed func(lost bool)

	mu       sync.Mutex
	points   []Point
	accepted string
	suspect  int // checks in a row that found the journal lost

	acked []atomic.Pointer[Point] // by partition: the newest event that an append stored
	// gone: an event that was acknowledged before an append got the same or a lower revision.
	gone  []atomic.Pointer[Point]
	lost  atomic.Pointer[domain.Error]
	limit atomic.Pointer[domain.Error] // a limit is reached; the server refuses the appends itself
	stop  atomic.Pointer[domain.Error] // why the caller has stopped the appends
	usage atomic.Pointer[Usage]

	refused atomic.Int64 // when the server last refused an append for want of room, Unix nanoseconds
	gate    gate
	pauses  pauses
}

// Usage is the storage of the journal's account in bytes; Limit -1 = none.
type Usage struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"`
}

// NewGuard returns a guard that knows points, from a note that was written when
// the journal's acceptance was accepted. It ignores them when the journal was
// accepted since.
func (j *Journal) NewGuard(points []Point, accepted string, log *slog.Logger) *Guard {
	g := &Guard{j: j, log: log, points: make([]Point, j.Partitions()), acked: make([]atomic.Pointer[Point], j.Partitions()), gone: make([]atomic.Pointer[Point], j.Partitions()), accepted: accepted,
		Changed: func(bool) {}}
	copy(g.points, points)
	return g
}

// Stop refuses all appends with err at once, also those that wait for an answer;
// nil allows them again.
func (g *Guard) Stop(err *domain.Error) {
	g.stop.Store(err)
	g.gate.set(g.refusal())
}

// refusal is why appends are not tried.
func (g *Guard) refusal() *domain.Error {
	if err := g.lost.Load(); err != nil {
		return err
	}
	return g.stop.Load()
}

// Learn gives the guard an event that another store has from this journal.
func (g *Guard) Learn(partition int, p Point) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.Revision > g.points[partition].Revision {
		g.points[partition] = p
	}
}

// Known returns the newest event of each partition that the guard has seen, and
// the acceptance that they belong to; ok is false while the journal is lost.
func (g *Guard) Known() (points []Point, accepted string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Point(nil), g.points...), g.accepted, g.lost.Load() == nil && g.suspect == 0
}

const (
	checkInterval = time.Second
	checkTimeout  = 2 * time.Second
	// suspectChecks is how many checks in a row must find the journal lost: a
	// former leader may answer one with an older state.
	suspectChecks = 2
)

// Run checks the journal once a second until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.check(ctx, suspectChecks)
		case <-ctx.Done():
			return
		}
	}
}

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
	}
	g.lost.Store(lost)
	g.mu.Unlock()
	switch {
	case lost != nil && before == nil:
		g.log.Error("the journal is not the one that this engine knows; commands are refused", "error", lost.Message)
		g.gate.set(g.refusal())
		g.Changed(true)
	case lost == nil && (before != nil || accepted != accepts):
		g.Changed(false)
		g.gate.set(g.refusal())
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

// margin is the room in bytes below which the journal counts as full.
const margin = 4 << 10

// measure compares the storage that the account and the streams use with their
// limits.
func (g *Guard) measure(ctx context.Context, infos []*jetstream.StreamInfo) {
	account, err := g.j.js.AccountInfo(ctx)
	if err != nil {
		return
	}
	u := Usage{Used: int64(account.Store), Limit: -1}
	tier := account.Tier
	if t, ok := account.Tiers["R"+strconv.Itoa(g.j.Replicas())]; ok {
		tier, u.Used = t, int64(t.Store)
	}
	if tier.Limits.MaxStore > 0 {
		u.Limit = tier.Limits.MaxStore
	}
	g.usage.Store(&u)
	full := u.Limit > 0 && u.Used+margin > u.Limit
	for _, c := range infos {
		full = full || c.Config.MaxBytes > 0 && int64(c.State.Bytes)+margin > c.Config.MaxBytes ||
			c.Config.MaxMsgs > 0 && int64(c.State.Msgs) >= c.Config.MaxMsgs
	}
	if full {
		g.limit.Store(limitReached)
	} else if time.Since(time.Unix(0, g.refused.Load())) > limitMemory {
		g.limit.Store(nil)
	}
}

// limitMemory is how long a refused append counts as a full journal: a limit of
// the whole server shows in no account.
const limitMemory = 2 * time.Second

// limitReached is the state of a journal without room on its server. The server
// itself refuses the appends.
var limitReached = domain.Errorf(domain.Unavailable, "journal.full", "a storage limit of the NATS server, the account or the journal's stream is reached")

// Usage returns the storage of the journal's account; nil = unknown.
func (g *Guard) Usage() *Usage { return g.usage.Load() }

// Lost returns why the journal is not the one that this engine knows; nil = it is.
func (g *Guard) Lost() error { return orNil(g.lost.Load()) }

// Err returns why commands fail because of the journal's state; nil = they do not.
func (g *Guard) Err() error {
	if err := g.Lost(); err != nil {
		return err
	}
	return g.Room()
}

// Room returns why the journal takes no events; nil = it has room.
func (g *Guard) Room() error {
	if err := orNil(g.stop.Load()); err != nil {
		return err
	}
	return orNil(g.limit.Load())
}

func orNil(e *domain.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// Accept makes the journal, as it is, the one that engines work on: they forget
// which events it had.
func (j *Journal) Accept(ctx context.Context) error {
	id := ulid.Make().String()
	for p := range j.streams {
		if err := j.updateConfig(ctx, p, func(cfg *jetstream.StreamConfig) bool {
			cfg.Metadata[metaAccepted] = id
			return true
		}); err != nil {
			return fmt.Errorf("accept the journal: %w", err)
		}
	}
	return nil
}

// Accepted returns the id of the last Accept before the journal was opened, "" =
// none.
func (j *Journal) Accepted() string { return j.accepted }
