package commands

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
)

// Peers are the other engines on the journal.
type Peers interface {
	// Any reports whether there is another engine.
	Any() bool
	// Withdraw returns when no other engine appends any more for a command that it took
	// before, named by its message id. It fails when one of them may have an append under
	// way. An engine that does not answer is taken for frozen or gone: it appends nothing
	// when it goes on (journal.Guard.WatchPauses).
	Withdraw(ctx context.Context, message string) error
}

// withdrawnFor is how long an engine refuses a command that another engine has answered:
// longer than a delivery that was sent before takes to arrive and to be read.
const withdrawnFor = time.Second

// deliveries are the commands that this engine has taken and not answered, by message id,
// and those that another engine has answered a moment ago.
type deliveries struct {
	mu sync.Mutex
	of map[string]*delivery
}

type delivery struct {
	taken     int  // deliveries without an answer
	appends   int  // under way
	unknown   bool // the outcome of an append is
	withdrawn bool
	idle      chan struct{} // closed when no append is under way; nil = nothing waits
}

func withdrawn() error {
	return domain.Errorf(domain.Unavailable, "command.withdrawn",
		"another engine is answering this command id; send the same command id again").With("retry_after_ms", withdrawnFor.Milliseconds())
}

// take takes a command, which leave gives back.
func (d *deliveries) take(message string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.of[message]
	if known == nil {
		known = &delivery{}
		d.of[message] = known
	}
	if known.withdrawn {
		return withdrawn()
	}
	known.taken++
	return nil
}

func (d *deliveries) leave(message string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.of[message]; known != nil {
		known.taken--
		d.forget(message, known)
	}
}

// forget removes what need not be known any more; the caller holds the lock.
func (d *deliveries) forget(message string, known *delivery) {
	if known.taken <= 0 && !known.withdrawn {
		delete(d.of, message)
	}
}

// begin begins an append for commands, unless one of them was withdrawn. end ends it.
func (d *deliveries) begin(messages []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range messages {
		if known := d.of[m]; known != nil && known.withdrawn {
			return withdrawn()
		}
	}
	for _, m := range messages {
		if known := d.of[m]; known != nil {
			known.appends++
		}
	}
	return nil
}

func (d *deliveries) end(messages []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range messages {
		known := d.of[m]
		if known == nil {
			continue
		}
		known.unknown = errors.Is(err, history.ErrOutcomeUnknown)
		if known.appends--; known.appends == 0 && known.idle != nil {
			close(known.idle)
			known.idle = nil
		}
	}
}

// withdraw keeps commands from being appended. idle is closed when no append is under
// way; nil = none is.
func (d *deliveries) withdraw(message string) (known *delivery, idle <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known = d.of[message]; known == nil {
		known = &delivery{}
		d.of[message] = known
	}
	if !known.withdrawn {
		known.withdrawn = true
		time.AfterFunc(withdrawnFor, func() { d.expire(message, known) })
	}
	if known.appends > 0 && known.idle == nil {
		known.idle = make(chan struct{})
	}
	return known, known.idle
}

// expire takes the command again, once the deliveries from before are answered.
func (d *deliveries) expire(message string, known *delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known.taken > 0 {
		time.AfterFunc(withdrawnFor, func() { d.expire(message, known) })
		return
	}
	known.withdrawn = false
	d.forget(message, known)
}

func (d *deliveries) isUnknown(known *delivery) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return known.unknown && known.taken > 0
}

// Withdrawn is asked by another engine, which is about to answer a command without an
// event: it returns when this one appends nothing more for the deliveries that it took
// before, false when the outcome of an append is not known.
func (h *Handler) Withdrawn(ctx context.Context, message string) bool {
	known, idle := h.deliveries.withdraw(message)
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
			return false
		}
	}
	return !h.deliveries.isUnknown(known)
}

// take registers a command that a client may have sent to other engines too. It must be
// released with its answer.
func (h *Handler) take(cmd *Command, req *Request) error {
	if h.cfg.Peers == nil || req.Internal || req.CommandID == "" {
		return nil
	}
	message := cmd.messageID()
	if err := h.deliveries.take(message); err != nil {
		return err
	}
	cmd.taken = message
	return nil
}

// releasing returns finish for a taken command; empty = it was not taken.
func (h *Handler) releasing(message string, finish func(Receipt, error)) func(Receipt, error) {
	if message == "" {
		return finish
	}
	return func(r Receipt, err error) {
		h.deliveries.leave(message)
		finish(r, err)
	}
}

// takeAll takes the commands of an atomic batch, all or none, and returns finish that
// releases them.
func (h *Handler) takeAll(cmds []Command, items []batchItem, finish func([]Result, error)) (func([]Result, error), error) {
	release := func() {
		for i := range cmds {
			if cmds[i].taken != "" {
				h.deliveries.leave(cmds[i].taken)
			}
		}
	}
	for i := range cmds {
		if err := h.take(&cmds[i], &items[i].req); err != nil {
			release()
			return nil, indexed(err, i)
		}
	}
	return func(r []Result, err error) {
		release()
		finish(r, err)
	}, nil
}

// withdrawBatch withdraws the commands of a batch that leaves no event. It reports that
// the batch must be attempted again, because another engine may have been first.
func (h *Handler) withdrawBatch(ctx context.Context, b *batchAttempt, err error) (again bool, _ error) {
	switch {
	case h.cfg.Peers == nil || !h.cfg.Peers.Any() || b.last > 0:
		return false, nil
	case err == nil && len(b.answers) == 0: // took effect before
		return false, nil
	case err != nil && !refusal(err):
		return false, nil
	}
	return true, h.withdraw(ctx, b.cmds...)
}

// refusal reports whether an error is an answer about the command, and not that something
// cannot be reached now.
func refusal(err error) bool {
	var e *domain.Error
	return errors.As(err, &e) && e.Kind != domain.Unavailable && e.Kind != domain.Internal
}

// withdraw is called before an answer that leaves no event: no other engine may append
// afterwards what this one refuses.
func (h *Handler) withdraw(ctx context.Context, cmds ...*Command) error {
	for _, cmd := range cmds {
		if cmd.taken == "" {
			continue
		}
		if err := h.cfg.Peers.Withdraw(ctx, cmd.taken); err != nil {
			return unavailable(err, true)
		}
	}
	return nil
}

// store appends events that commands caused, unless another engine has answered one of them.
func (h *Handler) store(ctx context.Context, writes []history.Write, cmds ...*Command) (history.Appended, error) {
	if h.cfg.Trace == nil {
		return h.storeTaken(ctx, writes, cmds)
	}
	began := time.Now()
	done, err := h.storeTaken(ctx, writes, cmds)
	h.traceAppend(began, writes, cmds, done, err)
	return done, err
}

func (h *Handler) storeTaken(ctx context.Context, writes []history.Write, cmds []*Command) (history.Appended, error) {
	var taken []string
	for _, cmd := range cmds {
		if cmd.taken != "" {
			taken = append(taken, cmd.taken)
		}
	}
	if len(taken) == 0 {
		return h.journal.Append(ctx, writes)
	}
	if err := h.deliveries.begin(taken); err != nil {
		return history.Appended{}, err
	}
	done, err := h.journal.Append(ctx, writes)
	h.deliveries.end(taken, err)
	return done, err
}
