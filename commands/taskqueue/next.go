package taskqueue

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

const (
	// loadWait bounds the wait for the index before tasks are given from what is in it.
	loadWait = 2 * time.Second
	// fullWait bounds the wait for the index before the answer is that it is not known
	// whether there is a task.
	fullWait = 10 * time.Second
	// catchUpWait bounds the wait for the journal's last events.
	catchUpWait = 2 * time.Second
)

// flight is a request under way; another one with its command id gets its answer.
type flight struct {
	waiter  *waiter
	done    chan struct{}
	receipt commands.Receipt
	err     error
}

// Next claims the first task that an agent may claim and waits for one if there is none.
// It fails with 404 task.none. The same command id gives the same task.
func (q *Queue) Next(ctx context.Context, commandID string, body []byte) (commands.Receipt, error) {
	condition, err := q.permit(ctx)
	if err != nil {
		return commands.Receipt{}, err
	}
	n, err := commands.ReadNext(body)
	if err == nil {
		err = condition(true, n.AgentID)
	}
	if err == nil && commandID != "" {
		err = domain.CheckID("command id", commandID)
	}
	if err != nil {
		return commands.Receipt{}, err
	}
	connected := commands.Connected(ctx)
	w := &waiter{kind: n.Kind, agent: n.AgentID, senders: []func() bool{connected}, given: make(chan *entry, 1)}
	if commandID == "" {
		return q.next(ctx, w, &n, ulid.Make().String(), body)
	}
	key := [3]string{identity.Actor(ctx), n.AgentID, commandID}
	q.mu.Lock()
	if f := q.flights[key]; f != nil {
		f.waiter.senders = append(f.waiter.senders, connected)
		q.mu.Unlock()
		if err := wait.Idle(ctx, func(context.Context) { <-f.done }); err != nil {
			return commands.Receipt{}, err
		}
		return f.receipt, f.err
	}
	f := &flight{waiter: w, done: make(chan struct{})}
	q.flights[key] = f
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.flights, key)
		close(f.done)
	}()
	f.receipt, f.err = q.again(ctx, w, &n, commandID, body)
	return f.receipt, f.err
}

// permit decides whether the sender may claim now, and as which agents.
func (q *Queue) permit(ctx context.Context) (condition commands.Condition, err error) {
	if q.cfg.Permit != nil {
		condition, err = q.cfg.Permit(ctx)
	}
	if condition == nil {
		condition = func(bool, ...string) error { return nil }
	}
	return condition, err
}

// again answers a command id that has claimed a task before with that task.
func (q *Queue) again(ctx context.Context, w *waiter, n *commands.Next, commandID string, body []byte) (commands.Receipt, error) {
	now, limit := q.cfg.Now(), fullWait
	at, timed := commands.MadeAt(commandID, now, 0)
	if timed && at.After(q.started) {
		limit = loadWait
	}
	if err := q.load(ctx, limit); err != nil {
		return commands.Receipt{}, err
	}
	q.mu.Lock()
	id, known := q.recent.tasks[claimID{n.AgentID, commandID}]
	from := q.recent.from
	q.mu.Unlock()
	if known {
		return q.claim(ctx, n, id, commandID, body)
	}
	if timed && (now.Sub(at) > Remembered || at.Before(from)) {
		return commands.Receipt{}, domain.Errorf(domain.Rejected, "command.too_old",
			"command id %s is from %s, and it is no longer known what it has claimed: use a new one", commandID, at.Format(time.RFC3339))
	}
	return q.next(ctx, w, n, commandID, body)
}

// next claims tasks until a claim is accepted.
func (q *Queue) next(ctx context.Context, w *waiter, n *commands.Next, commandID string, body []byte) (commands.Receipt, error) {
	end := time.Now().Add(n.Wait)
	for lost := false; ; lost = true {
		e, err := q.take(ctx, w, end, n.Wait > 0, lost)
		if err != nil {
			return commands.Receipt{}, err
		}
		r, err := q.claim(ctx, n, e.id, commandID, body)
		var elsewhere *commands.ClaimedElsewhere
		var known *domain.Error
		switch {
		case err == nil:
			q.claimed(e, r.Revision)
			return r, nil
		case errors.As(err, &elsewhere):
			q.back(e)
			return q.claim(ctx, n, elsewhere.Task, commandID, body)
		case errors.As(err, &known) && known.Code != "command.id_reused" &&
			(known.Kind == domain.Rejected || known.Kind == domain.NotFound || known.Kind == domain.Conflict):
			q.claimed(e, 0)
		default:
			q.back(e)
			return commands.Receipt{}, err
		}
	}
}

// claim claims a task for who may still do so: the request may have waited.
func (q *Queue) claim(ctx context.Context, n *commands.Next, id, commandID string, body []byte) (commands.Receipt, error) {
	condition, err := q.permit(ctx)
	if err == nil {
		err = condition(true, n.AgentID)
	}
	if err != nil {
		return commands.Receipt{}, err
	}
	return q.cfg.Claim(ctx, commands.Request{Aggregate: "task", ID: id, Verb: "next", Internal: true, CommandID: commandID, Body: body})
}

// take returns a task for a waiter, which is then in no line: at once, or when one comes
// before end. lost: the waiter was given one that it could not claim, so it goes first.
func (q *Queue) take(ctx context.Context, w *waiter, end time.Time, waits, lost bool) (*entry, error) {
	if err := q.load(ctx, loadWait); err != nil {
		return nil, err
	}
	q.mu.Lock()
	e := q.pop(w)
	if e == nil && (q.lost[[2]string{w.agent, w.kind}] || q.lost[[2]string{"", w.kind}]) {
		q.reload()
	}
	ready := q.loaded
	if e == nil && ready && waits {
		q.enlist(w, lost)
	}
	q.mu.Unlock()
	switch {
	case e != nil:
		return e, nil
	case ready && waits:
		return q.await(ctx, w, end)
	}
	if err := q.load(ctx, fullWait); err != nil {
		return nil, err
	}
	caughtUp, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	if err := q.cfg.CaughtUp(caughtUp); err != nil {
		return nil, err
	}
	q.mu.Lock()
	if e = q.pop(w); e == nil && waits {
		q.enlist(w, lost)
	}
	q.mu.Unlock()
	switch {
	case e != nil:
		return e, nil
	case waits:
		return q.await(ctx, w, end)
	}
	return nil, none(w)
}

func none(w *waiter) error {
	kind := ""
	if w.kind != "" {
		kind = " of kind " + w.kind
	}
	return domain.Errorf(domain.NotFound, "task.none", "no task%s waits for %s", kind, w.agent)
}

// load waits until all tasks are in the index. With a short limit it lets the request go
// on without: 503 tasks.loading is only for one that cannot be answered.
func (q *Queue) load(ctx context.Context, limit time.Duration) error {
	q.mu.Lock()
	loading, loaded := q.loading, q.loaded
	q.mu.Unlock()
	if loaded {
		return nil
	}
	ended := false
	err := wait.Idle(ctx, func(ctx context.Context) {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-loading:
			ended = true
		case <-timer.C:
			ended = limit < fullWait
		case <-ctx.Done():
		}
	})
	if err == nil && !ended {
		err = domain.Errorf(domain.Unavailable, "tasks.loading", "the engine still reads which tasks wait; send the same request again")
	}
	return err
}
