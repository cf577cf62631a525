package messages

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/internal/wait"
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

// storedPoll is the interval at which Stored asks for the consumer's position.
const storedPoll = 10 * time.Millisecond

// Stored waits until the message at a sequence of AGENT_MESSAGES is in SQL; false =
// ctx ended before.
func (v *View) Stored(ctx context.Context, sequence uint64) bool {
	for known := v.stored.Load(); known < sequence; known = v.stored.Load() {
		v.mu.Lock()
		c := v.consumer
		v.mu.Unlock()
		if c != nil {
			info, err := c.Info(ctx)
			if err == nil && info.AckFloor.Stream > known {
				v.stored.CompareAndSwap(known, info.AckFloor.Stream)
				continue
			}
			if err == nil && info.NumPending+uint64(info.NumAckPending) == 0 && v.lost(ctx, sequence) {
				return true
			}
		}
		if wait.Sleep(ctx, storedPoll) != nil {
			return false
		}
	}
	return true
}

// lost reports whether the stream no longer has the message at a sequence, because
// a server without a disk has restarted.
func (v *View) lost(ctx context.Context, sequence uint64) bool {
	s, err := v.streams.JS.Stream(ctx, feeds.AgentMessages)
	return err == nil && s.CachedInfo().State.LastSeq < sequence
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
