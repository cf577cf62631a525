package commands

import (
	"sync/atomic"

	"github.com/tidemark-engine/tidemark/domain"
)

// retryAfter is how long clients of an overloaded engine should wait, in
// milliseconds.
const retryAfter = 50

// admission bounds the commands in flight, by number and by bytes.
type admission struct {
	maxCommands, maxBytes int64
	commands, bytes       atomic.Int64
}

// enter admits commands with the given bytes of bodies, or refuses with 429
// engine.overloaded. Each admission must be followed by leave.
func (a *admission) enter(commands, bytes int) error {
	n, size := a.commands.Add(int64(commands)), a.bytes.Add(int64(bytes))
	if n <= a.maxCommands && size <= a.maxBytes {
		return nil
	}
	a.leave(commands, bytes)
	if n > a.maxCommands {
		return overloaded("%d commands are in flight", a.maxCommands)
	}
	return overloaded("commands of %d bytes are in flight", a.maxBytes)
}

func (a *admission) leave(commands, bytes int) {
	a.commands.Add(-int64(commands))
	a.bytes.Add(-int64(bytes))
}

func overloaded(format string, limit int64) error {
	return domain.Errorf(domain.Overloaded, "engine.overloaded", format, limit).With("retry_after_ms", retryAfter)
}
