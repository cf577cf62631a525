package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

// outdated is a view whose rows may have been made by an older fold.
type outdated struct {
	view string
	// stored is the fold's version of the rows; 0, false = they cannot be asked.
	stored  func(ctx context.Context) (version int, ok bool)
	rebuild func(ctx context.Context) error
}

// upgradeLook is how often a view's version is looked at until it is right.
const upgradeLook = 2 * time.Second

// upgradePause is the longest wait after a rebuild that failed: each is a fold
// of everything.
const upgradePause = 5 * time.Minute

// startUpgrades rebuilds, in the background, the views whose rows were made by
// an older fold than this build's; until then their old rows are served.
func (e *engine) startUpgrades() error {
	views := []outdated{{"hot", func(context.Context) (int, bool) { return e.hot.ViewVersion() }, func(ctx context.Context) error {
		done, err := rebuildHot(ctx, e.journal, e.db, e.hot, e.hotLevel, func(rebuild.Step) {})
		if err == nil && len(done.Left) > 0 {
			err = fmt.Errorf("%d rows still differ", len(done.Left))
		}
		if err == nil {
			err = e.hot.Rebuilt(ctx)
		}
		return err
	}}}
	if e.db != nil {
		views = append(views, outdated{"durable", func(ctx context.Context) (int, bool) {
			v, err := e.db.ViewVersion(ctx, "durable")
			return v, err == nil
		}, func(ctx context.Context) error {
			_, err := rebuildDurable(ctx, e.whole(), e.db, false, func(rebuild.Step) {})
			return err
		}})
	}
	for _, v := range views {
		nc, err := e.connect("rebuild-" + v.view)
		if err != nil {
			return err
		}
		stop := inBackground(func(ctx context.Context) { e.upgrade(ctx, nc, v) })
		e.onStop(func(context.Context) { stop() })
	}
	return nil
}

// upgrade rebuilds one view where that is needed, one engine at a time.
func (e *engine) upgrade(ctx context.Context, nc *nats.Conn, v outdated) {
	want := projections.Version(v.view)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = upgradeLook, upgradePause
	for told := false; ; {
		next := upgradeLook
		stored, ok := v.stored(ctx)
		if ok && stored >= want {
			e.rebuilding(v.view, false)
			if told {
				e.log.Info("the view's rows are of this build's fold", "view", v.view, "version", stored)
			}
			return
		}
		if ok {
			if !told {
				e.log.Info("the view is rebuilt; its old rows are served meanwhile", "view", v.view, "version", stored, "wanted", want)
			}
			told = true
			e.rebuilding(v.view, true)
			err := coordination.WithLock(ctx, nc, v.view, v.rebuild)
			if err == nil {
				continue
			}
			if ctx.Err() == nil && !errors.Is(err, coordination.ErrLocked) {
				next = pause.NextBackOff()
				e.log.Warn("the view could not be rebuilt; it is tried again", "view", v.view, "in", next.Round(time.Second), "error", err)
			}
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
	}
}

func (e *engine) rebuilding(view string, on bool) {
	for _, r := range e.views {
		if r.View == view {
			r.Rebuilding(on)
		}
	}
}

// hotLevel waits for the hot view, so that only what is wrong is put right.
func (e *engine) hotLevel(ctx context.Context, heads []uint64) {
	ctx, cancel := context.WithTimeout(ctx, levelWait)
	defer cancel()
	for p, head := range heads {
		e.progress["hot"].Wait(ctx, p, head)
	}
}
