package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/client"
)

// boardTask is a task as its query answers it.
type boardTask struct {
	ID         string          `json:"task_id"`
	Status     string          `json:"status"`
	Kind       string          `json:"kind"`
	Payload    json.RawMessage `json:"payload"`
	Agent      string          `json:"agent_id"`
	AssignedTo string          `json:"assigned_to"`
	Priority   int             `json:"priority"`
	Deadline   time.Time       `json:"deadline"`
	NotBefore  time.Time       `json:"not_before"`
	Retry      *struct {
		MaxAttempts int `json:"max_attempts"`
	} `json:"retry"`
	Attempts int             `json:"attempts"`
	Fence    uint64          `json:"fence"`
	Lease    time.Time       `json:"lease_expires_at"`
	Percent  *float64        `json:"percent"`
	Note     string          `json:"note"`
	Result   json.RawMessage `json:"result"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`
	Created  time.Time       `json:"created_at"`
	Started  time.Time       `json:"started_at"`
	Finished time.Time       `json:"finished_at"`
	Version  uint64          `json:"version"`
}

// taskStatuses are the columns of the board, in the order of a task's life.
var taskStatuses = []string{"created", "started", "completed", "failed", "cancelled"}

// column is a column of the board.
type column struct {
	status string
	tasks  []boardTask
	more   bool
	err    error
}

// boardRows bounds a column of the board; the list of one status has pages.
const boardRows = 12

func (c *Console) tasks(r *request) (view, error) {
	if status := r.query("status"); status != "" {
		return c.taskList(r, status)
	}
	columns := make([]column, len(taskStatuses))
	for i, status := range taskStatuses {
		columns[i] = r.column(status)
		if columns[i].err != nil && i == 0 { // the others fail likewise
			return view{}, columns[i].err
		}
	}
	return view{title: "Tasks", nav: "/tasks", body: taskBoard(r, columns), live: true}, nil
}

func (r *request) column(status string) column {
	var page struct {
		Tasks  []boardTask `json:"tasks"`
		Cursor string      `json:"cursor"`
	}
	err := r.ask("tasks.list", r.taskFilter(status, boardRows), &page)
	return column{status, page.Tasks, page.Cursor != "", err}
}

// taskFilter is the body of tasks.list for the filter in the URL.
func (r *request) taskFilter(status string, limit int) map[string]any {
	body := map[string]any{"status": status, "limit": limit}
	for name, field := range map[string]string{"kind": "kind", "agent": "agent_id", "prefix": "prefix"} {
		if v := strings.TrimSpace(r.query(name)); v != "" {
			body[field] = v
		}
	}
	return body
}

// listRows bounds a page of a list.
const listRows = 50

func (c *Console) taskList(r *request, status string) (view, error) {
	body := r.taskFilter(status, listRows)
	if cursor := r.query("cursor"); cursor != "" {
		body["cursor"] = cursor
	}
	var page struct {
		Tasks  []boardTask `json:"tasks"`
		Cursor string      `json:"cursor"`
	}
	if err := r.ask("tasks.list", body, &page); err != nil {
		return view{}, err
	}
	return view{title: "Tasks: " + status, nav: "/tasks", body: taskTable(r, page.Tasks, page.Cursor), live: true}, nil
}

// taskEvent is an event of the history of a task.
type taskEvent struct {
	Type     string          `json:"type"`
	Version  uint64          `json:"version"`
	Revision uint64          `json:"revision"`
	At       time.Time       `json:"timestamp"`
	Writer   string          `json:"writer"`
	Actor    string          `json:"actor"`
	State    json.RawMessage `json:"state"` // after the event
}

func (c *Console) task(r *request) (view, error) {
	id := r.PathValue("id")
	if !subjectToken(id) {
		return view{}, &client.Error{Kind: "not_found", Code: "task.not_found", Status: http.StatusNotFound, Message: "this is no id of a task"}
	}
	var t boardTask
	if err := r.ask("task."+id+".get", nil, &t); err != nil {
		return view{}, err
	}
	var page struct {
		Events []taskEvent `json:"versions"`
		Cursor string      `json:"cursor"`
	}
	body := map[string]any{"limit": listRows}
	if cursor := r.query("cursor"); cursor != "" {
		body["cursor"] = cursor
	}
	err := r.ask("task."+id+".history", body, &page)
	return view{title: "Task " + id, nav: "/tasks", body: taskPage(r, t, page.Events, page.Cursor, err), live: true}, nil
}

// subjectToken reports whether an id can be one token of a subject. The engine says what else
// is wrong with it.
func subjectToken(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-'
	})
}

// running reports whether a task can be cancelled.
func (t *boardTask) running() bool { return t.Status == "created" || t.Status == "started" }

// age is how long a task has been in its status.
func (t *boardTask) age(now time.Time) string {
	since := t.Created
	switch {
	case !t.Finished.IsZero() && !t.running():
		since = t.Finished
	case t.Status == "started" && !t.Started.IsZero():
		since = t.Started
	}
	if since.IsZero() {
		return "–"
	}
	return short(max(now.Sub(since), time.Second))
}

// lease is the time that the holder has left, as a word.
func (t *boardTask) lease(now time.Time) string {
	switch left := t.Lease.Sub(now); {
	case t.Status != "started":
		return ""
	case t.Lease.IsZero():
		return "no lease"
	case left <= 0:
		return "lease over"
	default:
		return "lease " + short(left)
	}
}

// attempts are the starts, of how many.
func (t *boardTask) attempts() string {
	if t.Retry != nil && t.Retry.MaxAttempts > 0 {
		return text(uint64(max(t.Attempts, 0))) + " of " + text(uint64(t.Retry.MaxAttempts))
	}
	return text(uint64(max(t.Attempts, 0)))
}

func taskID(f url.Values) (string, error) {
	id := f.Get("task")
	if !subjectToken(id) {
		return "", &client.Error{Kind: "invalid", Code: "id.invalid", Status: http.StatusBadRequest, Message: "this is no id of a task"}
	}
	return id, nil
}

func cancelTask(_ *request, f url.Values) (plan, error) {
	id, err := taskID(f)
	p := plan{
		title: "Cancel a task", danger: true, button: "Cancel task " + id, back: to("/tasks", id),
		says:    "Task " + id + " is cancelled. Its holder learns it with its next report.",
		subject: "task." + id + ".cancel", body: map[string]any{},
	}
	if reason := strings.TrimSpace(f.Get("reason")); reason != "" {
		p.body["reason"] = reason
	}
	return p, err
}

// retryTask starts a failed task again: the contract has no other way out of "failed".
func retryTask(_ *request, f url.Values) (plan, error) {
	id, err := taskID(f)
	agent := strings.TrimSpace(f.Get("agent_id"))
	if err == nil && agent == "" {
		err = invalid("name the agent that shall work on the task")
	}
	return plan{
		title: "Retry a task", button: "Retry task " + id, back: to("/tasks", id),
		says:    "The failed task " + id + " is started again, for agent " + agent + ".",
		subject: "task." + id + ".start", body: map[string]any{"agent_id": agent},
	}, err
}
