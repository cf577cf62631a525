package task

import (
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Command is one thing asked of a task: a type of event, its data, and whether
// it is already so.
type Command struct {
	ID   string
	Type string // the event it makes
	Data any    // one of the data structs in events
	Who  string // agent that starts it; empty for other commands
}

// transitions is the table: which event may follow which status, and the code
// of the refusal where it may not.
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

// already maps an event to the status in which asking for it again changes
// nothing.
var already = map[string]Status{
	events.TaskCompleted: Completed,
	events.TaskFailed:    Failed,
	events.TaskCancelled: Cancelled,
}

// Decide answers a command: 404 task.not_found before it is created, 422 where
// the table says no, unchanged where it is so already.
func Decide(t Task, c Command, ask domain.Ask) domain.Decision {
	rule := transitions[c.Type]
	if t.Status == "" && c.Type != events.TaskCreated {
		return domain.Refuse(domain.Errorf(domain.NotFound, "task.not_found", "there is no task %s", c.ID))
	}
	if s, ok := already[c.Type]; ok && t.Status == s || c.Type == events.TaskStarted && t.Status == Started && t.AgentID == c.Who {
		return domain.Decision{Outcome: domain.Unchanged}
	}
	for _, from := range rule.from {
		if t.Status == from {
			return t.event(c, ask)
		}
	}
	return domain.Refuse(domain.Errorf(domain.Rejected, rule.refusal, "task %s is %s: %s cannot follow", c.ID, t.Status, c.Type).
		With("status", string(t.Status)))
}

func (t Task) event(c Command, ask domain.Ask) domain.Decision {
	data, err := domain.Encode(c.Data)
	if err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
	}
	evs := []events.Event{{Type: c.Type, Aggregate: "task", ID: c.ID, Timestamp: ask.Now, Data: data}}
	if err := domain.Carry(t, evs, Evolve); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}
