package commands

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
)

// A command over all entries of an agent (erase, fork, revert) may take longer than its caller
// waits. It goes on then: the same command id sent again waits for it, and does not begin again
// what would be late again.
const (
	// maxAlone is how many commands may run without a caller.
	maxAlone = 16
	// longest bounds one that cannot come to its end.
	longest = time.Hour
)

// longRuns are the commands under way that may outlive their callers.
type longRuns struct {
	mu      sync.Mutex
	running map[longKey]*longRun
	alone   int
	closed  bool
	ended   sync.WaitGroup
}

type longKey struct{ name, id, print string }

type longRun struct {
	cancel  context.CancelFunc
	callers int
	done    chan struct{} // closed when receipt and err are set
	receipt Receipt
	err     error
}

// executeLong waits for a command that was under way, or executes it.
func (h *Handler) executeLong(ctx context.Context, cmd *Command, unsure bool) (Receipt, error) {
	r, err := h.joinLong(ctx, cmd, unsure)
	if err != nil {
		return Receipt{}, err
	}
	select {
	case <-r.done:
		h.long.leave(r)
		return r.receipt, r.err
	case <-ctx.Done():
	}
	if h.long.leave(r) {
		return Receipt{}, domain.Errorf(domain.Unavailable, "outcome.unknown",
			"the command takes longer than its caller waits, and goes on; send the same command id again to hear how it ends")
	}
	<-r.done // soon: it was cancelled, or has ended
	return r.receipt, r.err
}

// joinLong returns the run of a command, a new one where there is none.
func (h *Handler) joinLong(ctx context.Context, cmd *Command, unsure bool) (*longRun, error) {
	key := longKey{string(cmd.Name), cmd.CommandID, cmd.request.print}
	l := &h.long
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.running[key]; r != nil {
		if r.callers++; r.callers == 1 {
			l.alone--
		}
		return r, nil
	}
	if cmd.taken != "" { // also without a caller, until it ends
		if err := h.deliveries.take(cmd.taken); err != nil {
			return nil, err
		}
	}
	r := &longRun{callers: 1, done: make(chan struct{})}
	ctx, r.cancel = context.WithTimeout(context.WithoutCancel(ctx), longest)
	if l.running == nil {
		l.running = map[longKey]*longRun{}
	}
	l.running[key] = r
	own := *cmd
	l.ended.Go(func() {
		defer r.cancel()
		r.receipt, r.err = h.executeOne(ctx, &own, unsure)
		if own.taken != "" {
			h.deliveries.leave(own.taken)
		}
		l.mu.Lock()
		delete(l.running, key)
		if r.callers == 0 {
			l.alone--
		}
		close(r.done)
		l.mu.Unlock()
	})
	return r, nil
}

// leave is called by a caller that waits no more. It cancels a run that has no caller any more
// where too many go on already, and reports whether it goes on.
func (l *longRuns) leave(r *longRun) (goesOn bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.callers--
	select {
	case <-r.done:
		return false
	default:
	}
	if r.callers > 0 {
		return true
	}
	l.alone++
	if l.closed || l.alone > maxAlone {
		r.cancel()
		return false
	}
	return true
}

// close cancels what has no caller, and returns when all has ended.
func (l *longRuns) close(callers func()) {
	l.mu.Lock()
	l.closed = true
	for _, r := range l.running {
		if r.callers == 0 {
			r.cancel()
		}
	}
	l.mu.Unlock()
	callers()
	l.ended.Wait()
}
