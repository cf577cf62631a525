package reactors

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Outdated returns up to limit entries whose keys begin with prefix, and with none of the
// longer prefixes except, and that were last written before a time; the oldest first.
type Outdated func(ctx context.Context, prefix string, except []string, before time.Time, limit int) ([]readmodel.WrittenEntry, error)

// Retention deletes state entries some time after their last write.
type Retention struct {
	Ages     map[string]time.Duration // by prefix of the key; the longest prefix wins, 0 = kept for ever
	Outdated Outdated
	Send     Send
	Log      *slog.Logger
}

const (
	// retentionPause bounds how late an entry is deleted: an eighth of its age, from
	// 200 ms to a minute.
	retentionPause = time.Minute
	retentionPage  = 500
	// retentionTime is how long a round goes on after entries that cannot be deleted: each may
	// wait for a store.
	retentionTime = 10 * time.Second
)

// Run deletes what is too old until ctx ends. Engines that share a journal send the same
// command ids.
func (r *Retention) Run(ctx context.Context) {
	pause := retentionPause
	for _, age := range r.Ages {
		if age > 0 {
			pause = min(pause, max(age/8, 200*time.Millisecond))
		}
	}
	failing := ""
	for wait.Sleep(ctx, pause) == nil {
		for prefix, age := range r.Ages {
			if age == 0 || ctx.Err() != nil {
				continue
			}
			n, err := r.deleteOld(ctx, prefix, age)
			if n > 0 {
				r.Log.Debug("entries deleted after their retention", "prefix", prefix, "entries", n)
			}
			switch {
			case err != nil && failing == "" && ctx.Err() == nil:
				failing = prefix
				r.Log.Warn("entries past their retention cannot be deleted, retrying", "prefix", prefix, "error", err)
			case err == nil && failing == prefix:
				failing = ""
			}
		}
	}
}

// deleteOld deletes what is too old of one prefix. An entry that is written meanwhile
// stays: the deletion expects the version that was too old. One that cannot be deleted is left for
// the next round, and does not hold back others.
func (r *Retention) deleteOld(ctx context.Context, prefix string, age time.Duration) (n int, err error) {
	var except []string
	for other := range r.Ages {
		if len(other) > len(prefix) && other[:len(prefix)] == prefix {
			except = append(except, other)
		}
	}
	var failed error
	for began := time.Now(); ; {
		old, err := r.Outdated(ctx, prefix, except, time.Now().Add(-age), retentionPage)
		if err != nil {
			return n, err
		}
		deleted, left := 0, 0
		for _, e := range old {
			body, err := json.Marshal(map[string]any{"key": e.Key, "strategy": "last_write_wins", "expected_version": e.Version, "writer": "retention"})
			if err != nil {
				return n, err
			}
			receipt, err := r.Send(ctx, commands.Request{
				Aggregate: "agent", ID: e.Agent, Verb: "delete", Body: body,
				CommandID: derivedID(e.WrittenAt, "retention", e.Agent, e.Key, strconv.FormatUint(e.Version, 10)),
			})
			if err != nil && !IsRefusal(err) {
				if failed, left = err, left+1; ctx.Err() != nil || time.Since(began) > retentionTime {
					return n + deleted, err
				}
			}
			if err == nil && !receipt.Replayed {
				deleted++
			}
		}
		if n += deleted; deleted == 0 || deleted+left < retentionPage { // a replayed deletion is not in SQL yet
			return n, failed
		}
	}
}
