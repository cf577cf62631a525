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
)

// Task is the name of a task.
func Task(id string) AggregateName { return AggregateName("task." + id) }

// TaskCreate is the data of TaskCreated.
type TaskCreate struct {
	Kind     string         `json:"kind"`
	Payload  jsontext.Value `json:"payload,omitempty"`
	AgentID  string         `json:"agent_id,omitempty"` // the agent it is for
	Priority int            `json:"priority,omitzero"`  // 1 to 10, 10 first
	Deadline time.Time      `json:"deadline,omitzero"`
	Request  string         `json:"request"`
}

// TaskStart is the data of TaskStarted.
type TaskStart struct {
	AgentID string `json:"agent_id"` // the agent that works on it
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
	Result  jsontext.Value `json:"result,omitempty"`
	Request string         `json:"request"`
}

// TaskEnd is the data of TaskFailed and TaskCancelled.
type TaskEnd struct {
	Reason  string `json:"reason,omitempty"` // a slug; required for a failure
	Detail  string `json:"detail,omitempty"`
	Request string `json:"request"`
}
