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
func taskCommand(id, typ, who string, data any, request request) (Command, error) {
	return bindTask(task.Command{ID: id, Type: typ, Data: data, Who: who}, request)
}

func bindTask(c task.Command, request request) (Command, error) {
	cmd := bind("task", c.ID, "", events.Task(c.ID), request, taskFold, c, task.Decide)
	cmd.effect = taskEffect
	cmd.holder, cmd.creates, cmd.claims = c.Who, c.Type == events.TaskCreated, c.Claim
	if create, ok := c.Data.(events.TaskCreate); ok {
		cmd.holder = create.AgentID
	}
	return cmd, domain.CheckID("task id", c.ID)
}

func readTaskCreate(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		Kind     *string        `json:"kind"`
		Payload  jsontext.Value `json:"payload"`
		AgentID  string         `json:"agent_id"`
		Priority *int           `json:"priority"`
		Deadline string         `json:"deadline"`
		Retry    *struct {
			MaxAttempts *int  `json:"max_attempts"`
			BackoffMS   int64 `json:"backoff_ms"`
		} `json:"retry"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if in.Kind == nil {
		return Command{}, domain.MissingField("kind")
	}
	if err := domain.CheckID("kind", *in.Kind); err != nil {
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
	data := events.TaskCreate{Kind: *in.Kind, Payload: in.Payload, AgentID: in.AgentID}
	priority := ""
	if in.Priority != nil {
		if data.Priority = *in.Priority; data.Priority < 1 || data.Priority > 10 {
			return Command{}, domain.Errorf(domain.Invalid, "priority.invalid", "priority must be 1 to 10, this is %d", data.Priority)
		}
		priority = strconv.Itoa(data.Priority)
	}
	if in.Deadline != "" {
		var err error
		if data.Deadline, err = parseTime("deadline", in.Deadline); err != nil {
			return Command{}, err
		}
	}
	var retry []string
	if r := in.Retry; r != nil {
		if r.MaxAttempts == nil {
			return Command{}, domain.MissingField("retry/max_attempts")
		}
		data.Retry = &events.TaskRetry{MaxAttempts: *r.MaxAttempts, BackoffMS: r.BackoffMS}
		if *r.MaxAttempts < 1 || *r.MaxAttempts > maxTaskAttempts {
			return Command{}, domain.Errorf(domain.Invalid, "retry.invalid", "retry/max_attempts must be 1 to %d, this is %d", maxTaskAttempts, *r.MaxAttempts)
		}
		if err := checkMillis("retry.invalid", "retry/backoff_ms", r.BackoffMS, 0, maxBackoffMS); err != nil {
			return Command{}, err
		}
		retry = []string{strconv.Itoa(*r.MaxAttempts), strconv.FormatInt(r.BackoffMS, 10)}
	}
	request := bodyRequest("create", body, requestOf(in.Payload, func(payload string) string {
		return fingerprint(append([]string{"create", *in.Kind, payload, in.AgentID, priority, in.Deadline}, retry...)...)
	}))
	data.Request = request.print
	return taskCommand(id, events.TaskCreated, "", data, request)
}

func readTaskStart(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		AgentID *string `json:"agent_id"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if in.AgentID == nil {
		return Command{}, domain.MissingField("agent_id")
	}
	agentID := *in.AgentID
	if err := domain.CheckAgentID(agentID); err != nil {
		return Command{}, err
	}
	data := events.TaskStart{AgentID: agentID, Request: fingerprint("start", agentID)}
	return taskCommand(id, events.TaskStarted, agentID, data, request{print: data.Request})
}

func readTaskProgress(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Percent *float64 `json:"percent"`
		Note    string   `json:"note"`
		holderBody
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
	request := bodyRequest("progress", body, request{print: fingerprint(in.parts("progress", percent, in.Note)...)})
	data := events.TaskProgress{Percent: in.Percent, Note: in.Note, Request: request.print}
	return in.command(id, events.TaskProgressed, data, request)
}

func readTaskComplete(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		Result jsontext.Value `json:"result"`
		holderBody
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := b.checkSize("result", in.Result); err != nil {
		return Command{}, err
	}
	request := requestOf(in.Result, func(result string) string { return fingerprint(in.parts("complete", result)...) })
	data := events.TaskComplete{Result: in.Result, Request: request.print}
	return in.command(id, events.TaskCompleted, data, request)
}

func readTaskFail(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Reason *string `json:"reason"`
		Detail string  `json:"detail"`
		holderBody
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if in.Reason == nil {
		return Command{}, domain.MissingField("reason")
	}
	reason := *in.Reason
	if domain.CheckID("reason", reason) != nil {
		return Command{}, domain.Errorf(domain.Invalid, "reason.invalid",
			"reason %.64q must be 1 to %d of [A-Za-z0-9_-], it names a subject; free text goes into detail", reason, domain.MaxID)
	}
	data := events.TaskEnd{Reason: reason, Detail: in.Detail, Request: fingerprint(in.parts("fail", reason, in.Detail)...)}
	return in.command(id, events.TaskFailed, data, request{print: data.Request})
}

func readTaskCancel(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Reason string `json:"reason"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	data := events.TaskEnd{Reason: in.Reason, Request: fingerprint("cancel", in.Reason)}
	return taskCommand(id, events.TaskCancelled, "", data, request{print: data.Request})
}
