package client

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"
)

// Task is a task, and after [Client.NextTask] also the right to work on it.
type Task struct {
	ID          string          `json:"task_id"`
	Kind        string          `json:"kind"`
	Status      string          `json:"status"` // created, started, completed, failed, cancelled
	AgentID     string          `json:"agent_id,omitzero"`
	Priority    int             `json:"priority,omitzero"`
	Payload     json.RawMessage `json:"payload,omitzero"`
	Result      json.RawMessage `json:"result,omitzero"`
	Reason      string          `json:"reason,omitzero"` // of a failure or cancellation
	Detail      string          `json:"detail,omitzero"`
	Deadline    time.Time       `json:"deadline,omitzero"`
	Attempts    int             `json:"attempts,omitzero"`
	LeaseExpiry time.Time       `json:"lease_expires_at,omitzero"`
	Version     uint64          `json:"version"`
	Revision    uint64          `json:"revision"`

	fence  uint64
	holder string
	c      *Client
}

// Priority orders tasks that wait: 1 to 10, 10 first.
func Priority(p int) CommandOption { return Field("priority", p) }

// Deadline is when a task fails if it is not done.
func Deadline(t time.Time) CommandOption { return Field("deadline", t.UTC().Format(time.RFC3339Nano)) }

// For assigns a task to one agent; without it any worker may claim it.
func For(agent string) CommandOption { return Field("agent_id", agent) }

// Retry lets a task be attempted again after a failure or a lease that ran out.
func Retry(attempts int, backoff time.Duration) CommandOption {
	return Field("retry", map[string]any{"max_attempts": attempts, "backoff_ms": backoff.Milliseconds()})
}

// CreateTask makes a task of a kind. payload is encoded as JSON; nil = none.
func (c *Client) CreateTask(ctx context.Context, id, kind string, payload any, options ...CommandOption) (Receipt, error) {
	if payload != nil {
		options = with(options, Field("payload", payload))
	}
	return c.do(ctx, "task."+id+".create", with(options, Field("kind", kind)))
}

// CancelTask cancels a task that has not ended.
func (c *Client) CancelTask(ctx context.Context, id, reason string, options ...CommandOption) (Receipt, error) {
	return c.do(ctx, "task."+id+".cancel", with(options, Reason(reason)))
}

// GetTask reads a task.
func (c *Client) GetTask(ctx context.Context, id string, options ...ReadOption) (*Task, error) {
	t, err := document[Task](ctx, c, "task."+id, options)
	t.c = c
	return &t, err
}

// NextTask claims for agent the task of a kind ("" = any) that is first by priority and
// age, for as long as lease. Where there is none it waits, up to wait; then the error is
// an ErrNoTask.
func (c *Client) NextTask(ctx context.Context, kind, agent string, lease, wait time.Duration) (*Task, error) {
	if deadline, ok := ctx.Deadline(); ok { // a task that comes later would have no worker
		wait = max(min(wait, time.Until(deadline)-time.Second), 0)
	}
	body := map[string]any{"agent_id": agent, "lease_ms": lease.Milliseconds(), "wait_ms": wait.Milliseconds()}
	if kind != "" {
		body["kind"] = kind
	}
	var answer struct {
		Task    *Task   `json:"task"`
		Fence   uint64  `json:"fence"`
		Receipt Receipt `json:"receipt"`
	}
	if err := c.send(ctx, "commands.tasks.next", NewID(), body, wait, &answer); err != nil {
		return nil, err
	}
	c.saw(answer.Receipt)
	t := answer.Task
	t.fence, t.holder, t.c = answer.Fence, agent, c
	return t, nil
}

// Into decodes the payload into v.
func (t *Task) Into(v any) error { return json.Unmarshal(t.Payload, v) }

// Fence rises with each claim of the task: what the work changes elsewhere may refuse
// lower ones.
func (t *Task) Fence() uint64 { return t.fence }

// Progress reports progress and begins the lease again. percent is 0 to 100. If the task
// has another holder, the error is an ErrFenced; so with Complete and Fail.
func (t *Task) Progress(ctx context.Context, percent float64, note string) error {
	return t.report(ctx, "progress", Field("percent", percent), Field("note", note))
}

// Complete ends the task with a result, encoded as JSON; nil = none.
func (t *Task) Complete(ctx context.Context, result any) error {
	if result == nil {
		return t.report(ctx, "complete")
	}
	return t.report(ctx, "complete", Field("result", result))
}

// Fail ends the attempt. reason is one word like an id; detail is for people.
func (t *Task) Fail(ctx context.Context, reason, detail string) error {
	return t.report(ctx, "fail", Reason(reason), Field("detail", detail))
}

func (t *Task) report(ctx context.Context, verb string, fields ...CommandOption) error {
	if t.fence == 0 {
		return errors.New("the task " + t.ID + " is not claimed by this program: NextTask claims one")
	}
	_, err := t.c.do(ctx, "task."+t.ID+"."+verb, with(fields, Field("agent_id", t.holder), Field("fence", t.fence)))
	return err
}

// Failure is an error of a task handler that names the reason of the failure.
type Failure struct {
	Reason string // one word like an id
	Detail string
}

func (f *Failure) Error() string { return f.Reason + ": " + f.Detail }

// pollTimeout is how long one request of a worker waits for a task.
const pollTimeout = 2 * time.Second

// Worker works on tasks of one kind.
type Worker struct {
	Kind     string        // "" = any
	Agent    string        // who holds the tasks
	Lease    time.Duration // default 30 s; renewed while a handler runs
	Parallel int           // handlers at once, default 1
	OnError  func(error)   // gets the errors of claims and reports; nil = slog.Default logs them
}

// Work claims tasks until the end of ctx, runs handler for each and reports what it
// returns: a result, or an error as a failure, whose reason is that of a [Failure], else
// "error". It renews the lease while the handler runs; when the task is lost, the context
// of the handler ends and nothing is reported. At the end of ctx, Work waits for the
// handlers under way and returns nil.
func (c *Client) Work(ctx context.Context, w Worker, handler func(context.Context, *Task) (result any, err error)) error {
	if w.Lease == 0 {
		w.Lease = 30 * time.Second
	}
	if w.OnError == nil {
		w.OnError = func(err error) {
			slog.WarnContext(ctx, "a claim or the report of a task failed", "kind", w.Kind, "agent", w.Agent, "error", err)
		}
	}
	done := make(chan error)
	for range max(w.Parallel, 1) {
		go func() { done <- c.work(ctx, w, handler) }()
	}
	var errs []error
	for range max(w.Parallel, 1) {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// work claims one task after the other. What is refused for good ends it.
func (c *Client) work(ctx context.Context, w Worker, handler func(context.Context, *Task) (any, error)) error {
	for ctx.Err() == nil {
		task, err := c.poll(ctx, w)
		switch {
		case err == nil:
			c.handle(context.WithoutCancel(ctx), w, task, handler)
		case ctx.Err() != nil, errors.Is(err, ErrNoTask):
		case errors.Is(err, ErrUnavailable), errors.Is(err, ErrOverloaded):
			w.OnError(err)
		default:
			return err
		}
	}
	return nil
}

// poll claims a task. A request that is under way at the end of ctx is waited for: the task
// that it may claim has this worker.
func (c *Client) poll(ctx context.Context, w Worker) (*Task, error) {
	polling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(pollTimeout+time.Second, cancel) })
	defer stop()
	return c.NextTask(polling, w.Kind, w.Agent, w.Lease, pollTimeout)
}

func (c *Client) handle(ctx context.Context, w Worker, task *Task, handler func(context.Context, *Task) (any, error)) {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		for last := time.Now(); sleep(working, w.Lease/3) == nil; {
			renewing, cancel := context.WithTimeout(working, w.Lease/3)
			err := task.report(renewing, "progress")
			cancel()
			switch {
			case err == nil:
				last = time.Now()
			case errors.Is(err, ErrConflict), errors.Is(err, ErrRejected), errors.Is(err, ErrNotFound), time.Since(last) > w.Lease:
				stop(err)
			}
		}
	}()
	result, err := handler(working, task)
	lost := context.Cause(working)
	stop(nil)
	<-renewed
	switch {
	case lost != nil:
		err = lost
	case err == nil:
		err = task.Complete(ctx, result)
	default:
		failure := &Failure{Reason: "error", Detail: err.Error()}
		errors.As(err, &failure)
		err = task.Fail(ctx, failure.Reason, failure.Detail)
	}
	if errors.Is(err, ErrInvalid) || errors.Is(err, ErrTooLarge) { // else the task would be claimed again without end
		err = errors.Join(err, task.Fail(ctx, "error", "the report was refused: "+err.Error()))
	}
	if err != nil {
		w.OnError(err)
	}
}
