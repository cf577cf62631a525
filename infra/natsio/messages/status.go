package messages

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/projections"
)

// Status is what the view says of itself. Position and head are sequences of
// AGENT_MESSAGES, not revisions. look asks the consumer how far it is; without
// it the numbers are those of the last look.
func (v *View) Status(look bool) projections.Status {
	v.mu.Lock()
	c := v.consumer
	v.mu.Unlock()
	if look && c != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if info, err := c.Info(ctx); err == nil {
			v.mu.Lock()
			v.status.LagEvents = info.NumPending + uint64(info.NumAckPending)
			v.status.Head = info.Delivered.Stream + info.NumPending
			v.status.Position = v.status.Head - min(v.status.Head, v.status.LagEvents)
			v.mu.Unlock()
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.status
}

func (v *View) set(state, reason string) {
	v.mu.Lock()
	before := v.status.State
	v.status.State, v.status.Reason = state, reason
	v.mu.Unlock()
	if state == projections.Running && before == projections.Waiting {
		v.streams.Log.Info("view goes on", "view", "messages")
	}
}

func (v *View) waits(err error) {
	v.mu.Lock()
	first := v.status.State != projections.Waiting
	v.status.State, v.status.Reason = projections.Waiting, err.Error()
	v.mu.Unlock()
	if first {
		v.streams.Log.Warn("view waits", "view", "messages", "error", err)
	}
}
