package journal

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/domain"
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
	found atomic.Pointer[domain.Error] // why the journal was lost, which is found, while appends are still refused
	limit atomic.Pointer[domain.Error] // a limit is reached; the server refuses the appends itself
	stop  atomic.Pointer[domain.Error] // why the caller has stopped the appends
	other atomic.Pointer[domain.Error] // another store is of another journal
	usage atomic.Pointer[Usage]

	refused atomic.Int64 // when the server last refused an append for want of room, Unix nanoseconds
	gate    gate
	setting sync.Mutex // of the gate
	pauses  pauses
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
	g.setGate()
}

// Refuse refuses all appends with err, whatever Stop allows, until the engine starts again:
// another store is not of this journal.
func (g *Guard) Refuse(err *domain.Error) {
	g.other.Store(err)
	g.setGate()
}

// setGate closes or opens the gate for appends. What is refused is read under the lock, so that
// of two changes the later one counts.
func (g *Guard) setGate() {
	g.setting.Lock()
	defer g.setting.Unlock()
	g.gate.set(g.refusal())
}

// refusal is why appends are not tried.
func (g *Guard) refusal() *domain.Error {
	if err := g.lost.Load(); err != nil {
		return err
	}
	return cmp.Or(g.other.Load(), g.stop.Load())
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

// Lost returns why the journal is not the one that this engine knows; nil = it is.
func (g *Guard) Lost() error { return orNil(g.lost.Load()) }

// Unready returns why commands are refused because the journal is or was lost; nil = they are not.
func (g *Guard) Unready() error { return orNil(cmp.Or(g.lost.Load(), g.found.Load())) }

// Err returns why commands fail because of the journal's state; nil = they do not.
func (g *Guard) Err() error {
	if err := g.Lost(); err != nil {
		return err
	}
	return g.Room()
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
