package journal

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
)

// pauses notices that the process was stopped for a while, as by SIGSTOP or a
// suspended machine. It then holds commands that it decided or received before the
// pause. Their clients may have sent them to another engine since, and know its
// answer; so none of them may take effect any more.
type pauses struct {
	begin  time.Time
	wall   func() time.Time // nil = time.Now
	ticked atomic.Int64     // time of the last tick since begin; 0 = not watched
	skew   atomic.Int64     // what the clock had moved beyond that time
	until  atomic.Int64     // appends are refused until then
}

const (
	pauseTick = 100 * time.Millisecond
	longPause = 2 * time.Second // shorter than a client waits before it asks another engine
	// afterPause is how long appends are refused after a pause: longer than it takes
	// to read and decide what had arrived.
	afterPause = time.Second
)

// WatchPauses refuses appends after a pause of the process until ctx ends. It is for
// journals that several engines write.
func (g *Guard) WatchPauses(ctx context.Context) {
	tick := time.NewTicker(pauseTick)
	defer tick.Stop()
	for {
		g.pauses.tick()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tick records that the process runs.
func (p *pauses) tick() {
	if p.begin.IsZero() {
		p.begin = time.Now().Add(-pauseTick)
	}
	skew := p.moved()
	p.ticked.Store(p.notice())
	p.skew.Store(skew)
}

// moved is what the clock has moved beyond the time since begin: the time for which the machine
// was suspended, which the monotonic clock leaves out, or what the clock was set by.
func (p *pauses) moved() int64 {
	wall := time.Now
	if p.wall != nil {
		wall = p.wall
	}
	return int64(wall().Round(0).Sub(p.begin.Round(0)) - time.Since(p.begin))
}

// notice returns the time since begin, and starts to refuse appends when the process
// has not run for a while.
func (p *pauses) notice() (now int64) {
	now = int64(time.Since(p.begin))
	if ticked := p.ticked.Load(); ticked > 0 && (now-ticked > int64(longPause) || p.moved()-p.skew.Load() > int64(longPause)) {
		p.until.Store(now + int64(afterPause))
	}
	return now
}

// refusal returns why nothing may be appended now; nil = it may.
func (p *pauses) refusal() *domain.Error {
	if p.ticked.Load() == 0 || p.notice() >= p.until.Load() {
		return nil
	}
	return domain.Errorf(domain.Unavailable, "engine.paused",
		"the engine was stopped for a while, and another one may have answered meanwhile; send the same command id again")
}
