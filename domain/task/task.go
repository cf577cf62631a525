// Package task decides commands on tasks: they are created, started, make
// progress, and are completed, failed or cancelled; a failed one may be started
// again.
package task

import (
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

// Task is the state of a task, which views store as it is.
type Task struct {
	Status     Status         `json:"status"`
	Kind       string         `json:"kind"`
	Payload    jsontext.Value `json:"payload,omitempty"`
	AgentID    string         `json:"agent_id,omitempty"` // the agent it is for; once started, the one that works on it
	Priority   int            `json:"priority,omitzero"`
	Deadline   time.Time      `json:"deadline,omitzero"`
	Attempts   int            `json:"attempts"` // number of starts
	Percent    *float64       `json:"percent,omitempty"`
	Note       string         `json:"note,omitempty"`
	Result     jsontext.Value `json:"result,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	Detail     string         `json:"detail,omitempty"`
	CreatedAt  time.Time      `json:"created_at,omitzero"`
	StartedAt  time.Time      `json:"started_at,omitzero"`
	FinishedAt time.Time      `json:"finished_at,omitzero"`
}

// Evolve is the task after one more event. Unknown types change nothing.
func Evolve(t Task, ev *events.Event) (Task, error) {
	switch ev.Type {
	case events.TaskCreated:
		var d events.TaskCreate
		err := json.Unmarshal(ev.Data, &d)
		return Task{
			Status: Created, Kind: d.Kind, Payload: d.Payload, AgentID: d.AgentID,
			Priority: d.Priority, Deadline: d.Deadline, CreatedAt: ev.Timestamp,
		}, err
	case events.TaskStarted:
		var d events.TaskStart
		err := json.Unmarshal(ev.Data, &d)
		t.Status, t.AgentID, t.StartedAt, t.Attempts = Started, d.AgentID, ev.Timestamp, t.Attempts+1
		t.Percent, t.Note, t.Reason, t.Detail, t.FinishedAt = nil, "", "", "", time.Time{}
		return t, err
	case events.TaskProgressed:
		var d events.TaskProgress
		err := json.Unmarshal(ev.Data, &d)
		if d.Percent != nil {
			t.Percent = d.Percent
		}
		if d.Note != "" {
			t.Note = d.Note
		}
		return t, err
	case events.TaskCompleted:
		var d events.TaskComplete
		err := json.Unmarshal(ev.Data, &d)
		t.Status, t.Result, t.FinishedAt = Completed, d.Result, ev.Timestamp
		return t, err
	case events.TaskFailed, events.TaskCancelled:
		var d events.TaskEnd
		err := json.Unmarshal(ev.Data, &d)
		t.Status, t.Reason, t.Detail, t.FinishedAt = Failed, d.Reason, d.Detail, ev.Timestamp
		if ev.Type == events.TaskCancelled {
			t.Status = Cancelled
		}
		return t, err
	case events.TaskErased:
		if t.Status == Created || t.Status == Started {
			t.Status, t.FinishedAt = Cancelled, ev.Timestamp
		}
		_, t = t.Outline()
		return t, nil
	}
	return t, nil
}

// Outline is the agent that the task belongs to, empty = none, and the task without its
// content.
func (t Task) Outline() (agent string, outline Task) {
	t.Payload, t.Note, t.Result, t.Detail = nil, "", nil, ""
	if t.Status == Cancelled { // free text; that of a failure is a slug
		t.Reason = ""
	}
	return t.AgentID, t
}
