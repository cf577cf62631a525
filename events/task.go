package events

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Types of the events of a task.
const (
	TaskCreated    = "task.created"
	TaskStarted    = "task.started"
	TaskProgressed = "task.progressed"
	TaskCompleted  = "task.completed"
	TaskFailed     = "task.failed"
	TaskCancelled  = "task.cancelled"
	TaskErased     = "task.erased" // the content is gone with the agent that it belonged to
	// TaskRetried follows TaskFailed where the task is tried again.
	TaskRetried = "task.retried"
	// TaskLeaseExpired: the agent did not renew its lease; the task is created again, or failed.
	TaskLeaseExpired = "task.lease_expired"
)

// Task is the name of a task.
func Task(id string) AggregateName { return AggregateName("task." + id) }

// TaskCreate is the data of TaskCreated.
type TaskCreate struct {
	Kind     string         `json:"kind"`
	Payload  jsontext.Value `json:"payload,omitzero"`   // {} and null are payloads too
	AgentID  string         `json:"agent_id,omitempty"` // the agent it is for
	Priority int            `json:"priority,omitzero"`  // 1 to 10, 10 first
	Deadline time.Time      `json:"deadline,omitzero"`
	Retry    *TaskRetry     `json:"retry,omitempty"`
	Request  string         `json:"request"`
}

// TaskRetry is how often, and how soon, a task is tried again.
type TaskRetry struct {
	MaxAttempts int   `json:"max_attempts"`
	BackoffMS   int64 `json:"backoff_ms,omitzero"` // from a failure to the next claim
}

// TaskStart is the data of TaskStarted.
type TaskStart struct {
	AgentID string `json:"agent_id"`           // the agent that works on it
	LeaseMS int64  `json:"lease_ms,omitzero"`  // 0 = without a lease
	Fence   uint64 `json:"fence,omitzero"`     // the event's version; 0 in events of older builds
	ClaimID string `json:"claim_id,omitempty"` // command id of the claim
	Request string `json:"request"`
}

// TaskProgress is the data of TaskProgressed.
type TaskProgress struct {
	Percent *float64 `json:"percent,omitempty"` // 0 to 100
	Note    string   `json:"note,omitempty"`
	Request string   `json:"request"`
}

// TaskComplete is the data of TaskCompleted.
type TaskComplete struct {
	Result  jsontext.Value `json:"result,omitzero"` // {} and null are results too
	Request string         `json:"request"`
}

// TaskEnd is the data of TaskFailed and TaskCancelled.
type TaskEnd struct {
	Reason string `json:"reason,omitempty"` // a slug; required for a failure
	Detail string `json:"detail,omitempty"`
	Followed
	Request string `json:"request"`
}

// TaskBack is the data of TaskRetried.
type TaskBack struct {
	NotBefore time.Time `json:"not_before,omitzero"` // no claim before
	Request   string    `json:"request"`
}

// TaskLeaseExpire is the data of TaskLeaseExpired.
type TaskLeaseExpire struct {
	AgentID string `json:"agent_id"` // the agent that held the lease
	Fence   uint64 `json:"fence"`
	Followed
	Request string `json:"request"`
}

// Followed says that another event of the same command follows.
type Followed struct {
	Followed bool `json:"followed,omitzero"`
}
