package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// knownJournals are the journals that the data directory, SQL and KV have worked
// on. sql is false when SQL could not be asked.
func (e *Engine) knownJournals(ctx context.Context, nc *nats.Conn, note *deployment.JournalNote) (known []journal.Known, sql bool, err error) {
	known = append(known, journal.Known{Store: "the data directory " + e.cfg.Data, Incarnation: note.Incarnation})
	sql = true
	if e.postgres.DB != nil {
		ctx, cancel := context.WithTimeout(ctx, servers.SQLWait)
		defer cancel()
		ids, err := e.postgres.DB.Journals(ctx)
		sql = err == nil
		for _, id := range ids {
			known = append(known, journal.Known{Store: "the SQL database", Incarnation: id})
		}
	}
	id, err := hot.BucketJournal(ctx, nc)
	return append(known, journal.Known{Store: "the bucket " + hot.AgentStateBucket.Name, Incarnation: id, Weak: true}), sql, err
}

// checkFiles refuses directories of the journal that the embedded server could
// not open: a new stream would write into them. With --accept-journal they are
// moved away.
func (e *Engine) checkFiles() error {
	if e.nats.Embedded == nil {
		return nil
	}
	for _, stream := range e.nats.Embedded.Health().Lost {
		if !strings.HasPrefix(stream, "EVENTS") {
			continue
		}
		dir := e.nats.Embedded.StreamDir(stream)
		if !e.cfg.AcceptJournal {
			return fmt.Errorf("%w: the embedded NATS server cannot open the journal's files in %s (damaged, or meta.inf is missing; see its warnings above). "+
				"Nothing was changed. Restore the directory from a backup, or continue with a new, empty journal: engine serve --accept-journal, which moves the directory away",
				journal.ErrOtherJournal, dir)
		}
		aside := filepath.Join(e.cfg.Data, "journal-lost-"+time.Now().UTC().Format("20060102-150405"))
		if err := os.MkdirAll(aside, 0o700); err != nil {
			return err
		}
		if err := os.Rename(dir, filepath.Join(aside, stream)); err != nil {
			return fmt.Errorf("move the damaged journal away: %w", err)
		}
		e.log.Warn("the files of the damaged journal were moved away", "stream", stream, "directory", aside)
	}
	return nil
}

// openKnownJournal opens the journal, or creates it where no store knows one.
func (e *Engine) openKnownJournal(ctx context.Context) (note *deployment.JournalNote, sql bool, err error) {
	n, err := deployment.ReadJournalNote(e.cfg.Data)
	if err != nil {
		return nil, false, err
	}
	if err := e.checkFiles(); err != nil {
		return nil, false, err
	}
	nc, err := e.nats.Connect("journal")
	if err != nil {
		return nil, false, err
	}
	cfg := journal.Config{Subjects: e.nats.Subjects, Partitions: e.cfg.Partitions, Accept: e.cfg.AcceptJournal}
	if cfg.Known, sql, err = e.knownJournals(ctx, nc, &n); err != nil {
		return nil, false, err
	}
	e.journal, err = openJournal(ctx, nc, cfg)
	return &n, sql, err
}

// guard keeps the engine from working on a journal that is not the one it knows,
// or that has no room.
type guard struct {
	*journal.Guard
	e   *Engine
	sql bool // SQL has been asked
	// lost: the journal had lost events and was accepted, KV may have rows of them.
	lost bool
}

// relaxed reports whether a power failure may lose acknowledged events.
func (e *Engine) relaxed() bool { return e.nats.Embedded != nil && e.cfg.Durability == "relaxed" }

// newGuard compares the journal with the note and with SQL. What differs is
// accepted with --accept-journal, and with relaxed durability where the journal
// has only lost its newest events.
func (e *Engine) newGuard(ctx context.Context, note *deployment.JournalNote, sql bool) (*guard, error) {
	var points []journal.Point
	if strings.EqualFold(note.Incarnation, e.journal.ID()) {
		points = note.Points
	}
	g := &guard{Guard: e.journal.NewGuard(points, note.Accepted, e.log), e: e, sql: sql}
	if sql && e.postgres.DB != nil {
		if err := g.learn(ctx); err != nil && !e.cfg.AcceptJournal {
			return nil, err
		}
	}
	lost := g.CheckOnce(ctx)
	switch {
	case e.cfg.AcceptJournal:
	case lost != nil && e.relaxed() && sql:
		same, err := g.sameUpToHead(ctx)
		if err != nil || !same {
			return g, err
		}
		e.log.Warn("the journal has lost its newest events, which relaxed durability allows; the views roll back to it", "error", lost)
	case lost == nil && e.relaxed():
		var err error
		if g.lost, err = e.rowsAhead(ctx); g.lost {
			e.log.Warn("KV has rows of events that the journal has lost, which relaxed durability allows; the view rolls back to the journal")
		}
		return g, err
	default:
		return g, nil
	}
	if e.postgres.DB != nil {
		if err := g.rollBackArchive(ctx); err != nil {
			return nil, err
		}
	}
	if g.lost = lost != nil; g.lost {
		if err := e.journal.Accept(ctx); err != nil {
			return nil, err
		}
	}
	return g, g.CheckOnce(ctx)
}

// learn gives the guard how far the archive has this journal.
func (g *guard) learn(ctx context.Context) error {
	a := g.e.journal.stores.Archive()
	for p := range g.e.journal.Partitions() {
		at, err := a.Reaches(ctx, p, g.e.journal.ID())
		if errors.Is(err, history.ErrForeignJournal) {
			return fmt.Errorf("%w: %w. Use the stores that belong together, or make this journal the one of all: engine serve --accept-journal", journal.ErrOtherJournal, err)
		}
		if err != nil || at == 0 {
			continue // an archive that cannot be read now is asked again later
		}
		// Another engine archives meanwhile: a revision belongs to the digest it is read with.
		if at, digest, err := a.CheckpointDigest(ctx, p); err == nil && at > 0 {
			g.Learn(p, journal.Point{Revision: at, Digest: digest})
		}
	}
	return nil
}

// start watches the journal from now on and, where that is allowed, rebuilds the
// views that do not fit it.
func (g *guard) start() {
	e := g.e
	g.Changed = func(lost bool) {
		e.views.restart(func() {
			e.journal.history.Forget()
			e.commands.handler.Forget()
			e.model.memory.Reset()
			for p := range e.journal.Partitions() {
				e.model.tail.Reset(p, 0)
			}
		})
	}
	e.views.blocked = g.Err
	g.report()
	e.stops.Add(lifecycle.InBackground(g.Run))
	if e.nats.Embedded == nil {
		e.stops.Add(lifecycle.InBackground(g.WatchPauses))
	}
	e.stops.Add(func(context.Context) { g.note() })
	e.stops.Add(lifecycle.InBackground(g.keepNotes))
	if g.Lost() == nil && (e.cfg.AcceptJournal || e.relaxed()) {
		e.stops.Add(lifecycle.InBackground(g.adoptViews))
	}
}

// noteInterval is how often the note of the journal's events is written.
const noteInterval = 10 * time.Second

// keepNotes writes the note while the journal grows, and asks SQL when it could
// not be asked at the start.
func (g *guard) keepNotes(ctx context.Context) {
	for {
		g.note()
		if wait.Sleep(ctx, noteInterval) != nil {
			return
		}
		if !g.sql {
			asked, cancel := context.WithTimeout(ctx, servers.SQLWait)
			if g.e.postgres.DB.Ping(asked) == nil {
				if err := g.learn(asked); err != nil {
					g.Refuse(domain.Errorf(domain.Unavailable, "journal.changed", "%v", err))
				}
				g.sql = true
			}
			cancel()
		}
	}
}

// note remembers the journal in the data directory.
func (g *guard) note() {
	points, accepted, ok := g.Known()
	if !ok {
		return // the note keeps what the journal had
	}
	n := deployment.JournalNote{Incarnation: g.e.journal.ID(), Accepted: accepted, Points: points}
	if err := n.WriteChanged(g.e.cfg.Data); err != nil {
		g.e.log.Warn("cannot write the note of the journal into the data directory", "error", err)
	}
}

// adoptViews rebuilds the views that belong to another or a longer journal.
func (g *guard) adoptViews(ctx context.Context) {
	e := g.e
	nc, err := e.nats.Dial("adopt")
	if err != nil {
		e.log.Warn("cannot look for views of another journal", "error", err)
		return
	}
	defer nc.Close()
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		done, err := e.journal.stores.Adopt(ctx, nc, e.nats.Subjects, e.nats.Embedded != nil, g.lost, e.log)
		for _, view := range done {
			e.log.Info("the view was rebuilt from this journal", "view", view)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		e.log.Warn("the views do not all fit this journal yet; retrying", "error", err)
		if wait.Sleep(ctx, pause) != nil {
			return
		}
	}
}

// report gives the readiness why commands fail because of the journal.
func (g *guard) report() {
	check := func(component string, refusal func() error) {
		g.e.readiness.Check(component, func() (readiness.Level, string) {
			var d *domain.Error
			switch {
			case !errors.As(refusal(), &d):
				return readiness.OK, ""
			case d.Code == component:
				return readiness.NotReady, d.Message
			}
			return readiness.NotReady, d.Code + ": " + d.Message
		})
	}
	check("journal.incarnation", g.Unready)
	check("journal.full", g.Room)
}
