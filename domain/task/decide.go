package task

import (
	"bytes"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Command is a command on a task.
type Command struct {
	ID   string
	Type string // of the event it leads to
	Data any    // one of the data structs in events
	Who  string // agent that starts or claims it; empty for other commands
	// Claim: the start is a claim, which respects assignment, backoff and leases.
	Claim bool
	// Holder and Fence are who the sender believes holds the task; empty and nil = it
	// does not say.
	Holder string
	Fence  *uint64
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

// endIn is the status in which a command for an event was already carried out.
var endIn = map[string]Status{
	events.TaskCompleted: Completed,
	events.TaskFailed:    Failed,
	events.TaskCancelled: Cancelled,
}

// Decide decides a command: 404 task.not_found before the task is created, 422 if
// the table has no such transition. A sender that names the holder or the fence, and
// is no longer the holder, is refused with 409 task.fenced. A task that already ended
// in this way, with the same content, is unchanged; with other content the command is
// refused: 422 task.already_completed, task.already_failed or task.already_cancelled. A
// deadline that is not ahead is 400 deadline.past.
func Decide(t Task, c Command, meta domain.Metadata) domain.Decision {
	if t.Status == "" && c.Type != events.TaskCreated {
		return domain.Refuse(domain.Errorf(domain.NotFound, "task.not_found", "there is no task %s", c.ID))
	}
	switch {
	case c.Claim:
		return t.claim(c, meta)
	case c.Type == events.TaskLeaseExpired:
		return t.expire(c, meta)
	case t.hasFailed(c):
		return t.failAgain(c)
	case t.fenced(c):
		return domain.Refuse(t.details(domain.Errorf(domain.Conflict, "task.fenced",
			"task %s is not held by this agent and fence: it is %s; its lease may have run out", c.ID, t.held())))
	case c.Type == events.TaskStarted && t.Status == Started && t.AgentID == c.Who:
		return domain.Decision{Outcome: domain.Unchanged}
	}
	if end, ok := endIn[c.Type]; ok && t.Status == end {
		if t.endedWith(c.Data) {
			return domain.Decision{Outcome: domain.Unchanged}
		}
		return domain.Refuse(domain.Errorf(domain.Rejected, "task.already_"+string(end),
			"task %s is already %s, with other content", c.ID, end).With("status", string(end)))
	}
	if d, ok := c.Data.(events.TaskCreate); ok && t.Status == "" && !d.Deadline.IsZero() && !d.Deadline.After(meta.Now) {
		return domain.Refuse(domain.Errorf(domain.Invalid, "deadline.past", "deadline %s is not ahead of the engine's %s",
			d.Deadline.Format(time.RFC3339Nano), meta.Now.Format(time.RFC3339Nano)))
	}
	rule := transitions[c.Type]
	for _, from := range rule.from {
		if t.Status == from {
			return t.carryOut(c, meta)
		}
	}
	why := fmt.Sprintf("task %s is %s: %s cannot follow", c.ID, t.Status, c.Type)
	if c.Type == events.TaskCreated {
		why = fmt.Sprintf("task %s exists already, it is %s", c.ID, t.Status)
	}
	return domain.Refuse(domain.Errorf(domain.Rejected, rule.refusal, "%s", why).
		With("status", string(t.Status)))
}

// carryOut makes the events of a command that the table allows.
func (t Task) carryOut(c Command, meta domain.Metadata) domain.Decision {
	switch d := c.Data.(type) {
	case events.TaskStart:
		d.Fence = meta.Version + 1
		return t.accept(c, meta, fact{c.Type, d})
	case events.TaskEnd:
		if c.Type != events.TaskFailed || t.Retry == nil || !t.attemptLeft(meta.Now) {
			break
		}
		back := events.TaskBack{Request: d.Request}
		if t.Retry.BackoffMS > 0 {
			back.NotBefore = meta.Now.Add(time.Duration(t.Retry.BackoffMS) * time.Millisecond)
		}
		d.Followed.Followed = true
		return t.accept(c, meta, fact{c.Type, d}, fact{events.TaskRetried, back})
	}
	return t.accept(c, meta, fact{c.Type, c.Data})
}

// hasFailed reports whether a command reports the failure of an attempt that has failed
// already, as far as the sender says whose it was: the task waits for the next one.
func (t Task) hasFailed(c Command) bool {
	return c.Type == events.TaskFailed && t.Failure != "" &&
		(c.Holder == "" || c.Holder == t.FailedBy) && (c.Fence == nil || *c.Fence == t.Fence)
}

// failAgain decides the failure of an attempt that has failed already.
func (t Task) failAgain(c Command) domain.Decision {
	if d, ok := c.Data.(events.TaskEnd); ok && t.Failure == failureDigest(d.Reason, d.Detail) {
		return domain.Decision{Outcome: domain.Unchanged}
	}
	return domain.Refuse(t.details(domain.Errorf(domain.Rejected, "task.already_failed",
		"this attempt of task %s has already failed, with other content; the task waits for the next one", c.ID)))
}

// fenced reports whether the sender says that it holds a task which it does not hold.
func (t Task) fenced(c Command) bool {
	if c.Holder == "" && c.Fence == nil || t.Attempts == 0 {
		return false
	}
	return t.Status == Created || c.Holder != "" && c.Holder != t.AgentID || c.Fence != nil && *c.Fence != t.Fence
}

// endedWith reports whether the task ended with the content of data.
func (t Task) endedWith(data any) bool {
	switch d := data.(type) {
	case events.TaskComplete:
		return bytes.Equal(domain.NormalJSON(t.Result), domain.NormalJSON(d.Result))
	case events.TaskEnd:
		return t.Reason == d.Reason && t.Detail == d.Detail
	}
	return false
}

// fact is an event to be made.
type fact struct {
	typ  string
	data any
}

func (t Task) accept(c Command, meta domain.Metadata, facts ...fact) domain.Decision {
	evs := make([]events.Event, 0, len(facts))
	for _, f := range facts {
		data, err := domain.Encode(f.data)
		if err != nil {
			return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
		}
		evs = append(evs, events.Event{Type: f.typ, Aggregate: "task", ID: c.ID, Timestamp: meta.Now, Data: data})
	}
	if err := domain.CarryState(t, evs, Evolve); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}
