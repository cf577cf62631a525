package natsio

import (
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// LimitedLog is a log for lines that a client can cause as often as it likes: at
// most one a second after the first ten. A line says how many it stands for.
type LimitedLog struct {
	log   *slog.Logger
	limit *rate.Limiter
	left  *atomic.Int64
}

// NewLimitedLog returns a limited log with a rate of its own.
func NewLimitedLog(log *slog.Logger) LimitedLog {
	return LimitedLog{log, rate.NewLimiter(rate.Every(time.Second), 10), &atomic.Int64{}}
}

// Warn logs a line or counts it.
func (l LimitedLog) Warn(text string, args ...any) { l.write(l.log.Warn, text, args) }

// Error logs a line or counts it.
func (l LimitedLog) Error(text string, args ...any) { l.write(l.log.Error, text, args) }

func (l LimitedLog) write(to func(string, ...any), text string, args []any) {
	if !l.limit.Allow() {
		l.left.Add(1)
		return
	}
	if n := l.left.Swap(0); n > 0 {
		args = append(args, "lines_left_out", n)
	}
	to(text, args...)
}
