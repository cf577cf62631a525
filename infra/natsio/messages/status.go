package messages

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/projections"
)

// Status returns the state of the view. Position and head are sequences of
// AGENT_MESSAGES, not revisions. With refresh, it reads the numbers from the
// consumer; without, it returns the last ones read.
func (v *View) Status(refresh bool) projections.Status {
	v.mu.Lock()
	c := v.consumer
	v.mu.Unlock()
	if refresh && c != nil {
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

func (v *View) setState(state, reason string) {
	v.mu.Lock()
	before := v.status.State
	v.status.State, v.status.Reason = state, reason
	v.mu.Unlock()
	if state == projections.Running && before == projections.Waiting {
		v.streams.Log.Info("view continues", "view", "messages")
	}
}

func (v *View) setWaiting(err error) {
	v.mu.Lock()
	first := v.status.State != projections.Waiting
	v.status.State, v.status.Reason = projections.Waiting, err.Error()
	v.mu.Unlock()
	if first {
		v.streams.Log.Warn("view waits", "view", "messages", "error", err)
	}
}
