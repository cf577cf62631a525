package task

import (
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Command is a command on a task.
type Command struct {
	ID   string
	Type string // of the event it leads to
	Data any    // one of the data structs in events
	Who  string // agent that starts it; empty for other commands
}

// transitions are the statuses that each event may follow, and the code of the
// refusal in others.
var transitions = map[string]struct {
	from    []Status
	refusal string
}{
	events.TaskCreated:    {[]Status{""}, "task.exists"},
	events.TaskStarted:    {[]Status{Created, Failed}, "task.not_startable"},
	events.TaskProgressed: {[]Status{Started}, "task.not_started"},
	events.TaskCompleted:  {[]Status{Started}, "task.not_started"},
	events.TaskFailed:     {[]Status{Started}, "task.not_started"},
	events.TaskCancelled:  {[]Status{Created, Started}, "task.not_cancellable"},
}

// unchangedIn is the status in which a command for an event changes nothing.
var unchangedIn = map[string]Status{
	events.TaskCompleted: Completed,
	events.TaskFailed:    Failed,
	events.TaskCancelled: Cancelled,
}

// Decide decides a command: 404 task.not_found before the task is created, 422 if
// the table has no such transition, unchanged if the task is already so.
func Decide(t Task, c Command, meta domain.Metadata) domain.Decision {
	rule := transitions[c.Type]
	if t.Status == "" && c.Type != events.TaskCreated {
		return domain.Refuse(domain.Errorf(domain.NotFound, "task.not_found", "there is no task %s", c.ID))
	}
	if s, ok := unchangedIn[c.Type]; ok && t.Status == s || c.Type == events.TaskStarted && t.Status == Started && t.AgentID == c.Who {
		return domain.Decision{Outcome: domain.Unchanged}
	}
	for _, from := range rule.from {
		if t.Status == from {
			return t.event(c, meta)
		}
	}
	return domain.Refuse(domain.Errorf(domain.Rejected, rule.refusal, "task %s is %s: %s cannot follow", c.ID, t.Status, c.Type).
		With("status", string(t.Status)))
}

func (t Task) event(c Command, meta domain.Metadata) domain.Decision {
	data, err := domain.Encode(c.Data)
	if err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
	}
	evs := []events.Event{{Type: c.Type, Aggregate: "task", ID: c.ID, Timestamp: meta.Now, Data: data}}
	if err := domain.CarryState(t, evs, Evolve); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}
