package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// retentionInterval bounds the time between two removals of old rows: a quarter
// of the retention, up to ten minutes.
const retentionInterval = 10 * time.Minute

// startRetention removes old rows from tables that only grow. Engines that share
// a database do not disturb each other.
func startRetention(db *pg.DB, cfg *Config, log *slog.Logger) (stop func(context.Context)) {
	return inBackground(func(ctx context.Context) {
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
