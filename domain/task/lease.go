package task

import (
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// claim starts a task with a lease: one that is created, or whose lease has run out,
// that is for this agent or for none, and may be attempted now. Anything else is 422
// task.not_claimable.
func (t Task) claim(c Command, meta domain.Metadata) domain.Decision {
	start, _ := c.Data.(events.TaskStart)
	var facts []fact
	free := t
	if t.Expired(meta.Now) && t.attemptLeft(meta.Now) {
		free = t.back()
		facts = append(facts, fact{events.TaskLeaseExpired, events.TaskLeaseExpire{
			AgentID: t.AgentID, Fence: t.Fence, Followed: events.Followed{Followed: true}, Request: start.Request,
		}})
	}
	why := ""
	switch {
	case free.Status != Created:
		why = "it is " + t.held()
	case free.AgentID != "" && free.AgentID != c.Who:
		why = "it is assigned to " + free.AgentID
	case meta.Now.Before(free.NotBefore):
		why = "its next attempt is not before " + free.NotBefore.Format(time.RFC3339Nano)
	case free.late(meta.Now):
		why = "its deadline has passed"
	}
	if why != "" {
		return domain.Refuse(t.details(domain.Errorf(domain.Rejected, "task.not_claimable", "task %s cannot be claimed: %s", c.ID, why)))
	}
	start.Fence, start.ClaimID = meta.Version+uint64(len(facts))+1, meta.CommandID
	return t.accept(c, meta, append(facts, fact{events.TaskStarted, start})...)
}

// expire ends a lease that has run out; another one is 422 task.lease_held.
func (t Task) expire(c Command, meta domain.Metadata) domain.Decision {
	if !t.Expired(meta.Now) || c.Fence == nil || *c.Fence != t.Fence {
		return domain.Refuse(t.details(domain.Errorf(domain.Rejected, "task.lease_held", "task %s has no lease that has run out: it is %s", c.ID, t.held())))
	}
	d, _ := c.Data.(events.TaskLeaseExpire)
	d.AgentID, d.Fence = t.AgentID, t.Fence
	return t.accept(c, meta, fact{c.Type, d})
}

// held describes the status and the holder.
func (t Task) held() string {
	if t.Status != Started {
		return string(t.Status)
	}
	return fmt.Sprintf("started by %s with fence %d", t.AgentID, t.Fence)
}

// details adds the status and the holder to a refusal.
func (t Task) details(err *domain.Error) *domain.Error {
	err = err.With("status", string(t.Status))
	if t.AgentID != "" {
		err = err.With("agent_id", t.AgentID)
	}
	if t.Fence > 0 {
		err = err.With("fence", t.Fence)
	}
	if !t.LeaseExpiresAt.IsZero() {
		err = err.With("lease_expires_at", t.LeaseExpiresAt.Format(time.RFC3339Nano))
	}
	if !t.NotBefore.IsZero() {
		err = err.With("not_before", t.NotBefore.Format(time.RFC3339Nano))
	}
	return err
}
