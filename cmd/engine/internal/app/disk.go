package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
)

// diskWatch watches the disk of the embedded server. It stops the appends before
// the disk is full, and opens the server's streams again after a write failed:
// until then they store nothing, even when the disk has room again.
type diskWatch struct {
	e       *Engine
	full    bool
	checked time.Time // of the server's health
	retry   time.Time // earliest time of the next restart of JetStream
	pause   time.Duration

	distrusted bool
}

const (
	diskInterval   = 200 * time.Millisecond
	healthInterval = time.Second
	// Two restarts of JetStream are that far apart at most, while it fails.
	maxRestartPause = 8 * time.Second
)

func (e *Engine) startDiskWatch() {
	if e.nats.Embedded == nil {
		return
	}
	w := &diskWatch{e: e}
	e.stops.Add(lifecycle.InBackground(w.run))
}

func (w *diskWatch) run(ctx context.Context) {
	tick := time.NewTicker(diskInterval)
	defer tick.Stop()
	for {
		w.check(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// filesReserve is how many files the engine leaves room for: a stream needs a new one for
// every few megabytes, and a server without room for it stores nothing.
func filesReserve(all int64) int64 { return min(128, all/50) }

// fullReason is why nothing may be stored on the disk; empty = something may. A disk that
// was full needs more room than one that becomes full, so that the state does not change
// with every write.
func (w *diskWatch) fullReason() string {
	server := w.e.nats.Embedded
	more := int64(0)
	if w.full {
		more = 1
	}
	if free, size, known := server.Disk(); known {
		reserve := w.e.cfg.Reserve(size)
		if reserve += more * reserve / 8; free < reserve {
			return fmt.Sprintf("%s are free, %s are kept in reserve; free space", humanize.IBytes(uint64(free)), humanize.IBytes(uint64(reserve)))
		}
	}
	if free, all, known := server.Files(); known {
		reserve := filesReserve(all)
		if reserve += more * reserve / 8; free < reserve {
			return fmt.Sprintf("it takes %d more files, %d are kept in reserve; remove files", free, reserve)
		}
	}
	return ""
}

// check stops or allows the appends, and restarts JetStream where that is needed.
func (w *diskWatch) check(ctx context.Context) {
	server, g := w.e.nats.Embedded, w.e.guard
	before, why := w.full, w.fullReason()
	if w.full = why != ""; w.full {
		if !before {
			w.e.log.Error("the disk is full; commands are refused", "directory", w.e.cfg.Data, "reason", why)
		}
		g.Stop(domain.Errorf(domain.Unavailable, "journal.full",
			"the disk of the data directory is full: %s, and send the same command id again", why))
		w.distrust(server.Health) // waits for views that wait for the disk: after the refusal
		return
	}
	if !before && time.Since(w.checked) < healthInterval {
		return
	}
	w.checked = time.Now()
	w.distrusted = false
	h := server.Health()
	if !h.Off && len(h.Failed) == 0 {
		if before {
			w.e.log.Info("the disk has room again; commands are executed")
		}
		g.Stop(nil)
		w.pause = 0
		return
	}
	g.Stop(domain.Errorf(domain.Unavailable, "journal.unavailable",
		"the disk refused a write of the embedded NATS server (%s); its streams are opened again; send the same command id again", strings.Join(h.Failed, ", ")))
	if time.Now().Before(w.retry) {
		w.full = before // so that the next check comes soon
		return
	}
	w.pause = min(max(2*w.pause, time.Second), maxRestartPause)
	w.retry = time.Now().Add(w.pause)
	w.e.log.Warn("opening the streams of the embedded NATS server again, after the disk refused a write", "streams", h.Failed)
	if err := server.RestartJetStream(); err != nil {
		w.e.log.Error("cannot open the streams again; retrying", "error", err, "in", w.pause)
		return
	}
	w.checked = time.Time{}
	w.e.nats.Reconnect()
	w.renew(ctx)
	w.e.views.restart(func() {}) // a bucket does not wait for the disk before it acknowledges a row
}

// distrust lets the views load their positions again, once for each full disk,
// when a stream could not write: rows that a bucket acknowledged may be missing.
func (w *diskWatch) distrust(health func() embedded.Health) {
	if w.distrusted || time.Since(w.checked) < healthInterval {
		return
	}
	w.checked = time.Now()
	if len(health().Failed) > 0 {
		w.distrusted = true
		w.e.views.restart(func() {})
	}
}

// renew creates again what the embedded server had in memory.
func (w *diskWatch) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := w.e.topology.apply(ctx); err != nil {
		w.e.log.Warn("cannot apply the topology again", "error", err)
	}
	nc, err := w.e.nats.Dial("renew")
	if err != nil {
		w.e.log.Warn("cannot connect to renew the buckets in memory", "error", err)
		return
	}
	defer nc.Close()
	if _, err := hot.OpenQueryCache(ctx, nc, w.e.log); err != nil {
		w.e.log.Warn("cannot create the bucket of cached answers again", "error", err)
	}
}
