// Package task decides commands on tasks: they are created, started or claimed with a
// lease, make progress, and are completed, failed or cancelled; a failed one may be
// started again, and one whose lease ran out may be claimed again.
package task

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/events"
)

// Status of a task; empty = not created.
type Status string

const (
	Created   Status = "created"
	Started   Status = "started"
	Completed Status = "completed"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// LeaseExpired is the reason of a task whose lease ran out.
const LeaseExpired = "lease_expired"

// Task is the state of a task, which views store as it is.
type Task struct {
	Status         Status            `json:"status"`
	Kind           string            `json:"kind"`
	Payload        jsontext.Value    `json:"payload,omitzero"`
	AgentID        string            `json:"agent_id,omitempty"`    // the agent it is for; once started, the one that works on it
	AssignedTo     string            `json:"assigned_to,omitempty"` // once started: the agent it is for
	Priority       int               `json:"priority,omitzero"`
	Deadline       time.Time         `json:"deadline,omitzero"`
	Retry          *events.TaskRetry `json:"retry,omitempty"`
	NotBefore      time.Time         `json:"not_before,omitzero"` // no claim before
	Attempts       int               `json:"attempts"`            // number of starts
	Fence          uint64            `json:"fence,omitzero"`      // version of the last start
	ClaimID        string            `json:"claim_id,omitempty"`  // command id of the last start, if it was a claim
	LeaseMS        int64             `json:"lease_ms,omitzero"`
	LeaseExpiresAt time.Time         `json:"lease_expires_at,omitzero"`
	Percent        *float64          `json:"percent,omitempty"`
	Note           string            `json:"note,omitempty"`
	Result         jsontext.Value    `json:"result,omitzero"`
	Reason         string            `json:"reason,omitempty"`
	Detail         string            `json:"detail,omitempty"`
	FailedBy       string            `json:"failed_by,omitempty"` // while it waits after a failure: the agent whose attempt failed
	Failure        string            `json:"failure,omitempty"`   // while it waits after a failure: the digest of its reason and detail
	CreatedAt      time.Time         `json:"created_at,omitzero"`
	StartedAt      time.Time         `json:"started_at,omitzero"`
	FinishedAt     time.Time         `json:"finished_at,omitzero"`
}

// Evolve is the task after one more event. Unknown types change nothing.
func Evolve(t Task, ev *events.Event) (Task, error) {
	switch ev.Type {
	case events.TaskCreated:
		var d events.TaskCreate
		err := json.Unmarshal(ev.Data, &d)
		return Task{
			Status: Created, Kind: d.Kind, Payload: d.Payload, AgentID: d.AgentID,
			Priority: d.Priority, Deadline: d.Deadline, Retry: d.Retry, CreatedAt: ev.Timestamp,
		}, err
	case events.TaskStarted:
		var d events.TaskStart
		err := json.Unmarshal(ev.Data, &d)
		return t.started(&d, ev.Timestamp), err
	case events.TaskProgressed:
		var d events.TaskProgress
		err := json.Unmarshal(ev.Data, &d)
		if d.Percent != nil {
			t.Percent = d.Percent
		}
		if d.Note != "" {
			t.Note = d.Note
		}
		return t.renewed(ev.Timestamp), err
	case events.TaskCompleted:
		var d events.TaskComplete
		err := json.Unmarshal(ev.Data, &d)
		t = t.finished(Completed, ev.Timestamp)
		t.Result = d.Result
		return t, err
	case events.TaskFailed, events.TaskCancelled:
		var d events.TaskEnd
		err := json.Unmarshal(ev.Data, &d)
		status := Failed
		if ev.Type == events.TaskCancelled {
			status = Cancelled
		}
		t = t.finished(status, ev.Timestamp)
		t.Reason, t.Detail = d.Reason, d.Detail
		return t, err
	case events.TaskRetried:
		var d events.TaskBack
		err := json.Unmarshal(ev.Data, &d)
		by, failure := t.AgentID, failureDigest(t.Reason, t.Detail)
		t = t.back()
		t.NotBefore, t.FailedBy, t.Failure = d.NotBefore, by, failure
		return t, err
	case events.TaskLeaseExpired:
		if t.attemptLeft(ev.Timestamp) {
			t = t.back()
		} else {
			t = t.finished(Failed, ev.Timestamp)
		}
		t.Reason, t.Detail = LeaseExpired, ""
		return t, nil
	case events.TaskErased:
		if t.Status == Created || t.Status == Started {
			t = t.finished(Cancelled, ev.Timestamp)
		}
		_, t = t.Outline()
		return t, nil
	}
	return t, nil
}

func (t Task) started(d *events.TaskStart, at time.Time) Task {
	if d.Fence > 0 && t.Status == Created {
		t.AssignedTo = t.AgentID
	}
	t.Status, t.AgentID, t.StartedAt, t.Attempts = Started, d.AgentID, at, t.Attempts+1
	t.Fence, t.ClaimID, t.LeaseMS, t.NotBefore = d.Fence, d.ClaimID, d.LeaseMS, time.Time{}
	t.Percent, t.Note, t.Reason, t.Detail, t.FinishedAt = nil, "", "", "", time.Time{}
	t.FailedBy, t.Failure = "", ""
	return t.renewed(at)
}

// renewed is the task with its lease, if it has one, from now on.
func (t Task) renewed(at time.Time) Task {
	if t.LeaseExpiresAt = (time.Time{}); t.LeaseMS > 0 {
		t.LeaseExpiresAt = at.Add(time.Duration(t.LeaseMS) * time.Millisecond)
	}
	return t
}

func (t Task) finished(s Status, at time.Time) Task {
	t.Status, t.FinishedAt, t.LeaseMS, t.LeaseExpiresAt, t.NotBefore = s, at, 0, time.Time{}, time.Time{}
	t.FailedBy, t.Failure = "", ""
	return t
}

// failureDigest identifies a failure once its detail is gone: the detail belongs to the agent
// that has reported it, and the task that waits to the one that it is for.
func failureDigest(reason, detail string) string {
	sum := sha256.Sum256([]byte(reason + "\x00" + detail))
	return hex.EncodeToString(sum[:16])
}

// back is the task as it waits for the next attempt. What the last one has written is
// gone, except the reason of its end.
func (t Task) back() Task {
	t = t.finished(Created, time.Time{})
	t.AgentID, t.AssignedTo, t.StartedAt = t.AssignedTo, "", time.Time{}
	t.Percent, t.Note, t.Detail = nil, "", ""
	return t
}

// attemptLeft reports whether the task may be attempted again. Without retry, lost
// leases do not count.
func (t Task) attemptLeft(at time.Time) bool {
	return (t.Retry == nil || t.Attempts < t.Retry.MaxAttempts) && !t.late(at)
}

func (t Task) late(at time.Time) bool { return !t.Deadline.IsZero() && !at.Before(t.Deadline) }

// Expired reports whether the lease of a started task has run out.
func (t Task) Expired(at time.Time) bool {
	return t.Status == Started && !t.LeaseExpiresAt.IsZero() && !at.Before(t.LeaseExpiresAt)
}

// Outline is the agent that the task belongs to, empty = none, and the task without its
// content.
func (t Task) Outline() (agent string, outline Task) {
	t.Payload, t.Note, t.Result, t.Detail, t.Failure = nil, "", nil, "", ""
	if t.Status == Cancelled { // free text; that of a failure is a slug
		t.Reason = ""
	}
	return t.AgentID, t
}
