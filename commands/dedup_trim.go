package commands

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/history"
)

const (
	// trimCheckInterval is how long the time of a partition's last trim is
	// cached: no server restarts faster than that after a trim.
	trimCheckInterval = time.Second
	// afterTrim is how long after a trim the duplicate window may lack trimmed
	// events that a client still relies on it for. The two tolerances are for the
	// clocks of the client and of the process that trims.
	afterTrim = history.DuplicateWindow + 2*clockTolerance
)

// windowLost reports whether the duplicate window may lack the command's event:
// its partition was trimmed within afterTrim, the command is not younger than
// that, and the server may have restarted since.
func (h *Handler) windowLost(ctx context.Context, cmd *Command, now time.Time) (bool, error) {
	t, err := h.trims.last(ctx, h.journal, h.journal.Partition(cmd.ID))
	if err != nil || t.cut == 0 || now.Sub(t.at) > afterTrim {
		return false, err
	}
	made, timed := cmd.madeAt()
	return !timed || made.Before(t.at.Add(clockTolerance)), nil
}

// trims caches how far and when each partition was last trimmed.
type trims struct {
	mu    sync.RWMutex
	known map[int]lastTrim
}

type lastTrim struct {
	cut         uint64 // 0 = never trimmed
	at, checked time.Time
}

// last is the last trim of a partition.
func (t *trims) last(ctx context.Context, journal history.Journal, partition int) (lastTrim, error) {
	t.mu.RLock()
	known := t.known[partition]
	t.mu.RUnlock()
	if time.Since(known.checked) <= trimCheckInterval {
		return known, nil
	}
	cut, at, err := journal.Trimmed(ctx, partition)
	if err != nil {
		return lastTrim{}, err
	}
	known = lastTrim{cut, at, time.Now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[int]lastTrim{}
	}
	t.known[partition] = known
	return known, nil
}
