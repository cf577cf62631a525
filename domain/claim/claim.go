// Package claim decides commands on claims: a name that one owner holds at a time,
// until it releases it or its lease runs out.
package claim

import (
	"bytes"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Status of a claim; empty = never acquired.
type Status string

const (
	Held     Status = "held"
	Released Status = "released"
	Expired  Status = "expired"
)

// Claim is the state of a claim, which views store as it is.
type Claim struct {
	Status     Status         `json:"status"`
	Owner      string         `json:"owner"` // of a claim that is not held, the last one
	Fence      uint64         `json:"fence"` // version of the event with which the owner acquired it
	LeaseMS    int64          `json:"lease_ms,omitzero"`
	Data       jsontext.Value `json:"data,omitzero"`
	AcquiredAt time.Time      `json:"acquired_at,omitzero"`
	RenewedAt  time.Time      `json:"renewed_at,omitzero"`
	ExpiresAt  time.Time      `json:"expires_at,omitzero"` // zero = it has no lease
	EndedAt    time.Time      `json:"ended_at,omitzero"`
}

// Evolve is the claim after one more event. Unknown types change nothing.
func Evolve(c Claim, ev *events.Event) (Claim, error) {
	switch ev.Type {
	case events.ClaimAcquired:
		var d events.ClaimHold
		err := json.Unmarshal(ev.Data, &d)
		c = Claim{Status: Held, Owner: d.Owner, Fence: d.Fence, Data: d.Data, AcquiredAt: ev.Timestamp}
		return c.leased(ev.Timestamp, d.LeaseMS), err
	case events.ClaimRenewed:
		var d events.ClaimRenewal
		err := json.Unmarshal(ev.Data, &d)
		if d.Data != nil {
			c.Data = d.Data
		}
		c.RenewedAt = ev.Timestamp
		return c.leased(ev.Timestamp, d.LeaseMS), err
	case events.ClaimReleased, events.ClaimExpired, events.ClaimErased:
		if ev.Type == events.ClaimErased {
			c.Data = nil
		}
		if c.Status == Held {
			c.Status, c.EndedAt = Released, ev.Timestamp
			if ev.Type == events.ClaimExpired {
				c.Status = Expired
			}
		}
	}
	return c, nil
}

func (c Claim) leased(from time.Time, ms int64) Claim {
	c.LeaseMS, c.ExpiresAt = ms, time.Time{}
	if ms > 0 {
		c.ExpiresAt = from.Add(time.Duration(ms) * time.Millisecond)
	}
	return c
}

// Outline is the agent that holds or held the claim, and the claim without its content.
func (c Claim) Outline() (agent string, outline Claim) {
	c.Data = nil
	return c.Owner, c
}

// HeldAt reports whether the claim is held at a time. A lease that has run out does not
// hold, even if it has no expiry event yet.
func (c Claim) HeldAt(now time.Time) bool {
	return c.Status == Held && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt))
}

// Command is a command on a claim.
type Command struct {
	ID      string
	Type    string // of the event it leads to
	Owner   string
	Fence   uint64 // of a renewal or release
	LeaseMS *int64 // of an acquisition or renewal
	Data    jsontext.Value
	Request string
}

// Decide decides a command. What is held by another owner is 409 claim.held; a renewal or
// release that does not come from the owner, with a version that the claim has had since
// the owner acquired it, is 409 claim.fenced. An owner that acquires what it holds renews
// it. An expiry is allowed only after the lease.
func Decide(c Claim, cmd Command, meta domain.Metadata) domain.Decision {
	held := c.HeldAt(meta.Now)
	switch cmd.Type {
	case events.ClaimAcquired:
		switch {
		case held && c.Owner != cmd.Owner:
			return domain.Refuse(c.describe(domain.Errorf(domain.Conflict, "claim.held", "claim %s is held by %s", cmd.ID, c.Owner), held))
		case held:
			lease := int64(0)
			if cmd.LeaseMS != nil {
				lease = *cmd.LeaseMS
			}
			return c.renew(cmd, lease, meta)
		}
		return c.acquire(cmd, meta)
	case events.ClaimExpired:
		if held || c.Status != Held {
			return domain.Decision{Outcome: domain.Unchanged}
		}
		return c.decision(cmd, meta, change{cmd.Type, events.ClaimEnd{Request: cmd.Request}})
	}
	mine := c.Owner == cmd.Owner && cmd.Fence >= c.Fence && cmd.Fence <= meta.Version
	switch {
	case c.Status == "":
		return domain.Refuse(domain.Errorf(domain.NotFound, "claim.not_found", "there is no claim %s", cmd.ID))
	case mine && cmd.Type == events.ClaimReleased && c.Status == Released:
		return domain.Decision{Outcome: domain.Unchanged}
	case !mine || !held:
		return domain.Refuse(c.fenced(cmd, held))
	case cmd.Type == events.ClaimReleased:
		return c.decision(cmd, meta, change{cmd.Type, events.ClaimEnd{Request: cmd.Request}})
	}
	lease := c.LeaseMS
	if cmd.LeaseMS != nil {
		lease = *cmd.LeaseMS
	}
	return c.renew(cmd, lease, meta)
}

// acquire gives a claim that is not held to a new owner. A lease that has run out ends
// first.
func (c Claim) acquire(cmd Command, meta domain.Metadata) domain.Decision {
	var changes []change
	hold := events.ClaimHold{Owner: cmd.Owner, Data: cmd.Data, Fence: meta.Version + 1, Request: cmd.Request}
	if cmd.LeaseMS != nil {
		hold.LeaseMS = *cmd.LeaseMS
	}
	if c.Status == Held {
		changes = append(changes, change{events.ClaimExpired, events.ClaimEnd{TakenBy: cmd.Owner, Request: cmd.Request}})
		hold.Fence++
	}
	return c.decision(cmd, meta, append(changes, change{events.ClaimAcquired, hold})...)
}

// renew starts the lease again. Without a lease there is nothing to renew.
func (c Claim) renew(cmd Command, lease int64, meta domain.Metadata) domain.Decision {
	if lease == 0 && c.LeaseMS == 0 && (cmd.Data == nil || bytes.Equal(domain.NormalJSON(cmd.Data), domain.NormalJSON(c.Data))) {
		return domain.Decision{Outcome: domain.Unchanged}
	}
	return c.decision(cmd, meta, change{events.ClaimRenewed, events.ClaimRenewal{LeaseMS: lease, Data: cmd.Data, Request: cmd.Request}})
}

// change is an event to be: its type and one of the data structs in events.
type change struct {
	typ  string
	data any
}

func (c Claim) decision(cmd Command, meta domain.Metadata, changes ...change) domain.Decision {
	evs := make([]events.Event, len(changes))
	for i, ch := range changes {
		data, err := domain.Encode(ch.data)
		if err != nil {
			return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
		}
		evs[i] = events.Event{Type: ch.typ, Aggregate: "claim", ID: cmd.ID, Timestamp: meta.Now, Data: data}
	}
	if err := domain.CarryState(c, evs, Evolve); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}

func (c Claim) fenced(cmd Command, held bool) *domain.Error {
	if !held {
		status := c.Status
		if status == Held {
			status = Expired
		}
		return domain.Errorf(domain.Conflict, "claim.fenced", "claim %s is %s: %s holds it no more; acquire it again",
			cmd.ID, status, cmd.Owner).With("status", string(status))
	}
	why := "and the fence is not from then on"
	if c.Owner != cmd.Owner {
		why = "not by " + cmd.Owner
	}
	return c.describe(domain.Errorf(domain.Conflict, "claim.fenced", "claim %s is held by %s since version %d, %s", cmd.ID, c.Owner, c.Fence, why), held).
		With("status", string(Held))
}

// describe adds who holds the claim to an error.
func (c Claim) describe(err *domain.Error, held bool) *domain.Error {
	if !held {
		return err
	}
	err = err.With("owner", c.Owner)
	if !c.ExpiresAt.IsZero() {
		err = err.With("expires_at", c.ExpiresAt.Format(time.RFC3339Nano))
	}
	return err
}
