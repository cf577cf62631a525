package main

import (
	"context"
	"time"
)

// lastSeen is when an agent was last heard of since this engine's start.
func (e *engine) lastSeen(_ context.Context, agent string) (time.Time, bool) {
	at := e.activity.LastSeen(agent)
	return at, !at.IsZero()
}
