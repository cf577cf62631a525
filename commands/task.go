package commands

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
)

// taskCommand binds a verb to its task.
func taskCommand(id, typ, who string, data any, request string) (Command, error) {
	return bind("task", id, "", events.Task(id), request, taskFold,
		task.Command{ID: id, Type: typ, Data: data, Who: who}, task.Decide), domain.CheckID("task id", id)
}

func readTaskCreate(id string, body []byte, now time.Time, b Bounds) (Command, error) {
	var in struct {
		Kind     string         `json:"kind"`
		Payload  jsontext.Value `json:"payload"`
		AgentID  string         `json:"agent_id"`
		Priority *int           `json:"priority"`
		Deadline string         `json:"deadline"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := domain.CheckID("kind", in.Kind); err != nil {
		return Command{}, err
	}
	if in.AgentID != "" {
		if err := domain.CheckAgentID(in.AgentID); err != nil {
			return Command{}, err
		}
	}
	if err := b.checkSize("payload", in.Payload); err != nil {
		return Command{}, err
	}
	data := events.TaskCreate{Kind: in.Kind, Payload: in.Payload, AgentID: in.AgentID}
	priority := ""
	if in.Priority != nil {
		if data.Priority = *in.Priority; data.Priority < 1 || data.Priority > 10 {
			return Command{}, domain.Errorf(domain.Invalid, "priority.invalid", "priority must be 1 to 10, this is %d", data.Priority)
		}
		priority = strconv.Itoa(data.Priority)
	}
	if in.Deadline != "" {
		t, err := time.Parse(time.RFC3339Nano, in.Deadline)
		if err != nil {
			return Command{}, domain.Errorf(domain.Invalid, "timestamp.invalid", "deadline %.64q is not an RFC 3339 time", in.Deadline)
		}
		if data.Deadline = t.UTC(); !t.After(now) {
			return Command{}, domain.Errorf(domain.Invalid, "deadline.past", "deadline %s is not ahead of %s", in.Deadline, now.Format(time.RFC3339Nano))
		}
	}
	data.Request = fingerprint("create", in.Kind, string(in.Payload), in.AgentID, priority, in.Deadline)
	return taskCommand(id, events.TaskCreated, "", data, data.Request)
}

func readTaskStart(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		AgentID string `json:"agent_id"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := domain.CheckAgentID(in.AgentID); err != nil {
		return Command{}, err
	}
	data := events.TaskStart{AgentID: in.AgentID, Request: fingerprint("start", in.AgentID)}
	return taskCommand(id, events.TaskStarted, in.AgentID, data, data.Request)
}

func readTaskProgress(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Percent *float64 `json:"percent"`
		Note    string   `json:"note"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	percent := ""
	if in.Percent != nil {
		if *in.Percent < 0 || *in.Percent > 100 {
			return Command{}, domain.Errorf(domain.Invalid, "percent.invalid", "percent must be 0 to 100")
		}
		percent = strconv.FormatFloat(*in.Percent, 'g', -1, 64)
	}
	data := events.TaskProgress{Percent: in.Percent, Note: in.Note, Request: fingerprint("progress", percent, in.Note)}
	return taskCommand(id, events.TaskProgressed, "", data, data.Request)
}

func readTaskComplete(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		Result jsontext.Value `json:"result"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := b.checkSize("result", in.Result); err != nil {
		return Command{}, err
	}
	data := events.TaskComplete{Result: in.Result, Request: fingerprint("complete", string(in.Result))}
	return taskCommand(id, events.TaskCompleted, "", data, data.Request)
}

func readTaskFail(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Reason string `json:"reason"`
		Detail string `json:"detail"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if domain.CheckID("reason", in.Reason) != nil {
		return Command{}, domain.Errorf(domain.Invalid, "reason.invalid",
			"reason must be 1 to %d of [A-Za-z0-9_-], it names a subject; free text goes into detail", domain.MaxID)
	}
	data := events.TaskEnd{Reason: in.Reason, Detail: in.Detail, Request: fingerprint("fail", in.Reason, in.Detail)}
	return taskCommand(id, events.TaskFailed, "", data, data.Request)
}

func readTaskCancel(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Reason string `json:"reason"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	data := events.TaskEnd{Reason: in.Reason, Request: fingerprint("cancel", in.Reason)}
	return taskCommand(id, events.TaskCancelled, "", data, data.Request)
}
