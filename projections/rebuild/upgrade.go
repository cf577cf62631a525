package rebuild

import (
	"context"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/projections"
)

// Upgrade rebuilds a view in the background when an older version of the fold
// wrote its rows. The old rows are served until then.
type Upgrade struct {
	View string
	// Stored is the version of the fold that wrote the rows; false = unknown now.
	Stored  func(ctx context.Context) (version int, ok bool)
	Rebuild func(ctx context.Context) error
	// Lock calls run unless another process rebuilds the view; locked reports
	// whether it was called.
	Lock func(ctx context.Context, run func(context.Context) error) (locked bool, err error)
	// Rebuilding marks the view in the status.
	Rebuilding func(on bool)
	Log        *slog.Logger
}

const (
	upgradePoll     = 2 * time.Second // between two looks at the stored version
	upgradeMaxPause = 5 * time.Minute // between two attempts: each folds the whole history
)

// Run returns when the rows are of this build's version, or when ctx ends.
func (u *Upgrade) Run(ctx context.Context) {
	log := u.Log.With("view", u.View)
	want := projections.Version(u.View)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = upgradePoll, upgradeMaxPause
	for begun := false; ; {
		next := upgradePoll
		stored, ok := u.Stored(ctx)
		if ok && stored >= want {
			u.Rebuilding(false)
			if begun {
				log.Info("the view is rebuilt", "version", stored)
			}
			return
		}
		if ok {
			if !begun {
				log.Info("rebuilding the view in the background; its old rows are served meanwhile", "version", stored, "wanted", want)
			}
			begun = true
			u.Rebuilding(true)
			locked, err := u.Lock(ctx, u.Rebuild)
			if locked && err == nil {
				continue
			}
			if ctx.Err() == nil && locked {
				next = pause.NextBackOff()
				log.Warn("the rebuild of the view failed; it is retried", "in", next.Round(time.Second), "error", err)
			}
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
	}
}
