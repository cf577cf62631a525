// Package logs bounds what one cause can write into a log.
package logs

import (
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Limited is a log for lines that one cause can repeat as often as it likes: at most one a
// second after the first ones. A line says how many it stands for.
type Limited struct {
	log   *slog.Logger
	limit *rate.Limiter
	left  *atomic.Int64
}

// ByClients is the number of first lines for what clients can cause.
const ByClients = 10

// NewLimited returns a limited log with a rate of its own, which writes the first lines at once.
func NewLimited(log *slog.Logger, first int) Limited {
	return Limited{log, rate.NewLimiter(rate.Every(time.Second), first), &atomic.Int64{}}
}

// Warn logs a line or counts it.
func (l Limited) Warn(text string, args ...any) { l.write(l.log.Warn, text, args) }

// Error logs a line or counts it.
func (l Limited) Error(text string, args ...any) { l.write(l.log.Error, text, args) }

func (l Limited) write(to func(string, ...any), text string, args []any) {
	if !l.limit.Allow() {
		l.left.Add(1)
		return
	}
	if n := l.left.Swap(0); n > 0 {
		args = append(args, "lines_left_out", n)
	}
	to(text, args...)
}
