package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// levelWait bounds the wait for a running view before its rows are compared:
// what it has not come to yet would only be restored for nothing.
const levelWait = 3 * time.Second

// level waits for a view of the running engine.
func (e *rebuildEnv) level(view string) func(context.Context, []uint64) {
	return func(ctx context.Context, heads []uint64) {
		ctx, cancel := context.WithTimeout(ctx, levelWait)
		defer cancel()
		for {
			s, _, err := askStatus(ctx, e.nc, e.target)
			behind := err != nil
			for _, v := range s.Views {
				if v.Name == view && v.State != projections.Halted && v.Position < heads[v.Partition] {
					behind = true
				}
			}
			if !behind {
				return
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}
}

func (c *rebuildCmd) hot(ctx context.Context, env *rebuildEnv, out *output) error {
	if c.Plan {
		return c.planInPlace(ctx, out, env, "hot", "the keys that differ are put in place one by one; no reader or watcher sees less meanwhile")
	}
	if err := env.openBuckets(ctx); err != nil { // one may be gone
		return err
	}
	hot, progress, err := openHot(ctx, env.nc, env.journal)
	if err != nil {
		return err
	}
	if !c.Accept {
		if err := resume(ctx, hot, env.journal, progress); err != nil {
			return err
		}
	}
	show := newSteps(out, c.JSON)
	done, err := rebuildHot(ctx, env.journal, env.db, hot, env.level("hot"), show.step)
	show.end()
	if err != nil {
		return err
	}
	if c.Accept {
		for p, head := range done.Heads {
			progress.Reset(p, head)
		}
		if err := hot.Rebuilt(ctx); err != nil {
			return err
		}
	}
	if err := c.restored(out, done); err != nil {
		return err
	}
	if len(done.Left) > 0 {
		return errors.New("the rows above still differ: is a bucket full, or are they written by somebody else?")
	}
	return nil
}

// openBuckets makes the buckets that are gone.
func (e *rebuildEnv) openBuckets(ctx context.Context) error {
	for _, cfg := range append(bucketsOfDocs(), hot.AgentStateBucket) {
		cfg.Embedded = e.embedded
		if _, err := hot.OpenBucket(ctx, e.nc, cfg, e.log); err != nil {
			return err
		}
	}
	return nil
}

func bucketsOfDocs() (all []hot.BucketConfig) {
	for _, cfg := range docBuckets {
		all = append(all, cfg)
	}
	return all
}

// rebuildHot puts right what the hot view's buckets have wrong.
func rebuildHot(ctx context.Context, journal *journal.Journal, db *pg.DB, hot *hot.Hot,
	level func(context.Context, []uint64), step func(rebuild.Step)) (*rebuild.Restored, error) {
	r := rebuild.Reset{View: "hot", Journal: journal, Tiers: []verify.Tier{hotTier(hot)}, Of: "kv", Level: level, Step: step,
		Leaves: func(_ int, s events.Stream) bool { return hot.Leaves(journal.Partition(s.ID()), s) }}
	for p := range journal.Partitions() { // the archive is read only where it is needed
		if cut, err := journal.Trimmed(ctx, p); err != nil {
			return nil, err
		} else if cut > 0 && db != nil {
			r.Archive = archive.New(db, archiveView)
		}
	}
	return r.Run(ctx)
}

func (c *rebuildCmd) archive(ctx context.Context, env *rebuildEnv, out *output) error {
	if env.db == nil {
		return c.withoutSQL()
	}
	if c.Plan {
		return c.planInPlace(ctx, out, env, archiveView, "archived events that are missing or differ are written anew from the journal")
	}
	archive := archive.New(env.db, archiveView)
	if c.Accept {
		if err := c.acceptArchive(ctx, env, archive, out); err != nil {
			return err
		}
	}
	if err := projections.CheckJournal(ctx, env.journal, archive); err != nil {
		return err
	}
	show := newSteps(out, c.JSON)
	r := rebuild.Reset{View: archiveView, Journal: env.journal, Archive: archive, Of: verify.InArchive, Step: show.step, Level: env.level(archiveView)}
	done, err := r.Run(ctx)
	show.end()
	if err != nil {
		return err
	}
	if err := c.restored(out, done); err != nil {
		return err
	}
	if len(done.Left) > 0 {
		return errors.New("the events above are not in the journal any more: only an export has them (engine archive import)")
	}
	return nil
}

// acceptArchive keeps another journal's archive aside, and waits until the view
// has begun the present one's.
func (c *rebuildCmd) acceptArchive(ctx context.Context, env *rebuildEnv, archive *archive.Archive, out *output) error {
	own, err := env.own(ctx, archive)
	if err != nil || own {
		return err
	}
	for p := range env.journal.Partitions() {
		if cut, err := env.journal.Trimmed(ctx, p); err != nil {
			return err
		} else if cut > 0 {
			return fmt.Errorf("partition %d of this journal is trimmed up to %d, and what was trimmed is only in an archive that is not this journal's: "+
				"bring back the database of the same time, or import an export into an empty engine", p, cut)
		}
	}
	name, err := archive.Aside(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := writeJSON(out, map[string]string{"step": "aside", "schema": name}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%-11s the events of the journal before are kept in the schema %s\n", archiveView, name)
	}
	return env.filled(ctx, archive)
}

// own tells whether the archive is this journal's.
func (e *rebuildEnv) own(ctx context.Context, archive *archive.Archive) (bool, error) {
	err := projections.CheckJournal(ctx, e.journal, archive)
	for p := range e.journal.Partitions() {
		if err == nil {
			_, err = archive.Reaches(ctx, p, e.journal.ID())
		}
	}
	if errors.Is(err, history.ErrForeignJournal) {
		return false, nil
	}
	return err == nil, err
}

// fillWait bounds how long an emptied archive may stay where it is.
const fillWait = 15 * time.Second

// filled waits until the running view has archived everything anew.
func (e *rebuildEnv) filled(ctx context.Context, archive *archive.Archive) error {
	var last uint64
	for moved := time.Now(); ; {
		var reached, heads uint64
		for p := range e.journal.Partitions() {
			at, err := archive.Reaches(ctx, p, e.journal.ID())
			if err != nil {
				return err
			}
			head, err := e.journal.Head(ctx, p)
			if err != nil {
				return err
			}
			reached, heads = reached+min(at, head), heads+head
		}
		if reached >= heads {
			return nil
		}
		if reached > last {
			last, moved = reached, time.Now()
		}
		if time.Since(moved) > fillWait {
			return fmt.Errorf("the running engine does not fill the archive: it is at %d of %d", reached, heads)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *rebuildCmd) feeds(ctx context.Context, env *rebuildEnv, out *output) error {
	if c.Plan {
		return c.planInPlace(ctx, out, env, "feeds", "what AGENT_STATE should still hold and does not is published at its end; nothing is removed")
	}
	streams, err := feeds.NewStreams(env.nc, natsio.NewSubjects(env.prefix), env.embedded, env.log)
	if err != nil {
		return err
	}
	feeds := feeds.New(streams, env.journal)
	if c.Accept {
		if err := feeds.Accept(ctx); err != nil {
			return err
		}
	}
	show := newSteps(out, c.JSON)
	done, err := feeds.Rebuild(ctx, show.step)
	show.end()
	if err != nil {
		return err
	}
	return c.restored(out, done)
}

func (c *rebuildCmd) restored(out *output, r *rebuild.Restored) error {
	if c.JSON {
		return writeJSON(out, r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s held against %s events in %s (folded %s/s); %d rows differed\n", r.View, grouped(int(r.Events)),
		seconds(r.Seconds), grouped(int(r.Rate)), r.Rows)
	for _, k := range r.Keys {
		fmt.Fprintf(&b, "    %s: %s\n", k.Key, k.What)
	}
	if r.Rows > len(r.Keys) {
		fmt.Fprintf(&b, "    … and %d more\n", r.Rows-len(r.Keys))
	}
	for _, k := range r.Left {
		fmt.Fprintf(&b, "  still different: %s: %s\n", k.Key, k.What)
	}
	_, err := out.Write([]byte(b.String()))
	return err
}

// planInPlace tells of a rebuild that needs no room.
func (c *rebuildCmd) planInPlace(ctx context.Context, out *output, env *rebuildEnv, view, what string) error {
	p, err := rebuild.PlanFold(ctx, env.whole)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out, struct {
			View string `json:"view"`
			rebuild.FoldPlan
		}{view, p})
	}
	_, err = fmt.Fprintf(out, "%-11s %s events to fold, about %s (this machine folds %s/s), no disk\n            then %s\n",
		view, grouped(int(p.Events)), seconds(p.Seconds), grouped(int(p.Rate)), what)
	return err
}
