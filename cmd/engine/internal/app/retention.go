package app

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// retentionInterval bounds the time between two removals of old rows: a quarter
// of the retention, up to ten minutes.
const retentionInterval = 10 * time.Minute

// startRetention removes old rows from tables that only grow. Engines that share
// a database do not disturb each other.
func startRetention(db *pg.DB, cfg *settings.Config, log *slog.Logger) (stop func(context.Context)) {
	return lifecycle.InBackground(func(ctx context.Context) {
		var running sync.WaitGroup
		for table, age := range map[pg.Aging]time.Duration{
			pg.OutboxRows: cfg.OutboxRetention, pg.MessageRows: cfg.MessagesRetention, pg.ConflictRows: cfg.ConflictsRetention,
		} {
			if age > 0 {
				running.Go(func() { retain(ctx, db, table, age, log) })
			}
		}
		running.Wait()
	})
}

func retain(ctx context.Context, db *pg.DB, table pg.Aging, age time.Duration, log *slog.Logger) {
	pause, failed := min(max(age/4, time.Second), retentionInterval), false
	for wait.Sleep(ctx, pause) == nil {
		n, err := db.RemoveOld(ctx, table, age)
		if n > 0 {
			log.Debug("old rows removed", "table", table, "rows", n)
		}
		if err != nil && !failed && ctx.Err() == nil {
			log.Warn("removing old rows failed, retrying", "table", table, "error", err, "retry_in", pause)
		}
		failed = err != nil
	}
}

// startKeyRetention deletes the entries that --retention says.
func startKeyRetention(e *Engine) (stop func(context.Context)) {
	ages, _ := e.cfg.RetentionAges() // checked before the start
	stopIndexes := startIndexes(e.log, "retention", func(ctx context.Context) ([]string, bool, error) {
		return e.model.durable.IndexRetention(ctx, slices.Sorted(maps.Keys(ages)))
	})
	if len(ages) == 0 {
		return stopIndexes
	}
	r := &reactors.Retention{Ages: ages, Outdated: e.model.durable.Outdated, Send: e.commands.send, Log: e.log}
	stopDeleting := lifecycle.InBackground(r.Run)
	return func(ctx context.Context) {
		stopDeleting(ctx)
		stopIndexes(ctx)
	}
}

// startIndexes makes the indexes of a feature as its flag wants them, and tries again
// until that is done.
func startIndexes(log *slog.Logger, feature string, index func(context.Context) (changed []string, done bool, err error)) (stop func(context.Context)) {
	return lifecycle.InBackground(func(ctx context.Context) {
		pause, said := backoff.NewExponentialBackOff(), false
		for {
			began := time.Now()
			changed, done, err := index(ctx)
			if len(changed) > 0 {
				log.Info("indexes changed", "for", feature, "indexes", strings.Join(changed, ", "), "took", time.Since(began))
			}
			if done || ctx.Err() != nil {
				return
			}
			if err != nil && !said {
				said = true
				log.Warn("indexes are not complete, retrying: what needs them is slow until then", "for", feature, "error", err)
			}
			if wait.Sleep(ctx, pause.NextBackOff()) != nil {
				return
			}
		}
	})
}
