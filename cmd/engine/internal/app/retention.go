package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
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

// retention reads --retention.
func (c *Config) retention() (map[string]time.Duration, error) {
	ages := make(map[string]time.Duration, len(c.Retention))
	for prefix, text := range c.Retention {
		days, ok := strings.CutSuffix(text, "d")
		n, err := strconv.ParseUint(days, 10, 16)
		age := time.Duration(n) * 24 * time.Hour
		if !ok || err != nil {
			age, err = time.ParseDuration(text)
		}
		if err != nil || age < 0 || age > longest || age != 0 && age < time.Second {
			return nil, fmt.Errorf("--retention %s=%s: an age is 1s to 3650d, as in 30d, 12h or 90m; 0 keeps the entries", prefix, text)
		}
		if prefix == "*" {
			prefix = ""
		}
		if prefix != "" && domain.CheckKey(strings.TrimSuffix(prefix, ".")) != nil {
			return nil, fmt.Errorf("--retention: %.64q is not a prefix of keys", prefix)
		}
		ages[prefix] = age
	}
	if len(ages) > 0 && c.Postgres == "off" {
		return nil, errors.New("--retention needs SQL, which --postgres off leaves out")
	}
	return ages, nil
}

// startKeyRetention deletes the entries that --retention says.
func startKeyRetention(e *Engine) (stop func(context.Context)) {
	ages, _ := e.cfg.retention() // checked before the start
	stopIndexes := startIndexes(e.log, "retention", func(ctx context.Context) ([]string, bool, error) {
		return e.model.durable.IndexRetention(ctx, slices.Sorted(maps.Keys(ages)))
	})
	if len(ages) == 0 {
		return stopIndexes
	}
	r := &reactors.Retention{Ages: ages, Outdated: e.model.durable.Outdated, Send: e.commands.send, Log: e.log}
	stopDeleting := inBackground(r.Run)
	return func(ctx context.Context) {
		stopDeleting(ctx)
		stopIndexes(ctx)
	}
}
