// Package commands carries commands out: it reads a request, keeps the order
// of each aggregate, folds its last event, lets the domain decide, appends with
// compare-and-set and answers with a receipt.
package commands

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Request is one command as it came in.
type Request struct {
	Aggregate, ID, Verb string
	CommandID           string // empty = the engine makes one
	Body                []byte // JSON; not kept after the answer
	Internal            bool   // sent by the engine itself, which has verbs of its own
	// MadeAt is a time before which the command was surely not sent, for ids
	// that do not carry their time: however late it comes again, it is looked
	// for from then on. Zero = unknown: the duplicate window is all there is.
	MadeAt time.Time
}

// Config of a Handler. Zero values take the defaults named here.
type Config struct {
	Bounds    Bounds
	InFlight  int           // commands taken at once; default 8192. Beyond: 429.
	WaitBytes int           // of their bodies; default 256 MiB. Beyond: 429.
	HeadBytes uint64        // memory for resident heads; default 256 MiB
	Timeout   time.Duration // for one command, waiting included; default 10 s (the seed's)
	Now       func() time.Time
	Archive   Archive   // nil = none: ids without a time are known for the duplicate window
	Evictor   Evictor   // nil = expiry has nothing to take out
	Messenger Messenger // nil = messages and heartbeats are refused
	Past      Past      // nil = forks are refused
	// Observe is told of every event that was appended, before its command is
	// answered. It must not block.
	Observe func(rec events.Record)
}

// Handler carries commands out. Several may work on one journal, in one or in
// many processes: compare-and-set keeps them apart.
type Handler struct {
	journal  history.Journal
	cfg      Config
	heads    *heads
	boxes    *mailboxes
	admitted admission
	askAgain atomic.Int64 // Unix nanoseconds before which the archive is better not asked
	stats    Stats
	hot      groupcommit.HotCosts
}

// NewHandler serves commands on a journal. Close it to drain.
func NewHandler(journal history.Journal, cfg Config) *Handler {
	if cfg.Bounds.BodyBytes == 0 {
		strategies := cfg.Bounds.Strategies
		cfg.Bounds = DefaultBounds()
		cfg.Bounds.Strategies = strategies
	}
	if cfg.InFlight == 0 {
		cfg.InFlight = 8192
	}
	if cfg.WaitBytes == 0 {
		cfg.WaitBytes = 256 << 20
	}
	if cfg.HeadBytes == 0 {
		cfg.HeadBytes = 256 << 20
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return time.Now().UTC() }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(events.Record) {}
	}
	h := &Handler{journal: journal, cfg: cfg, heads: newHeads(cfg.HeadBytes)}
	h.admitted.maxCommands, h.admitted.maxBytes = int64(cfg.InFlight), int64(cfg.WaitBytes)
	h.boxes = newMailboxes(h.run, h.runTogether)
	return h
}

// Handle carries req out and calls done exactly once, possibly before it
// returns and usually from another goroutine. The error, if any, is a
// *domain.Error. Handle itself never blocks on I/O.
func (h *Handler) Handle(ctx context.Context, req Request, done func(Receipt, error)) {
	size := len(req.Body)
	if err := h.admitted.enter(1, size); err != nil {
		done(Receipt{}, err)
		return
	}
	finish := func(r Receipt, err error) {
		h.admitted.leave(1, size)
		done(r, err)
	}
	cmd, err := read(req, h.cfg.Now(), h.cfg.Bounds)
	if err != nil {
		finish(Receipt{}, err)
		return
	}
	posted := h.boxes.postCommand(&waiter{ctx: ctx, deadline: time.Now().Add(h.cfg.Timeout), cmd: cmd, finish: finish})
	if !posted {
		finish(Receipt{}, domain.Errorf(domain.Unavailable, "engine.stopping", "the engine is stopping; send the same command id again"))
	}
}

// guard turns a panic, a defect of ours, into an answer: one command must not
// take the others with it.
func (h *Handler) guard(ctx context.Context, cmd *Command, unsure bool) (r Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			h.heads.drop(cmd.Stream)
			r, err = Receipt{}, fmt.Errorf("panic while carrying out %s on %s: %v\n%s", cmd.CommandID, cmd.Stream, p, debug.Stack())
		}
	}()
	if cmd.encode != nil {
		return h.publish(ctx, cmd)
	}
	if cmd.run != nil {
		return cmd.run(ctx, h, cmd)
	}
	return h.carry(ctx, cmd, unsure)
}

// Send carries req out and waits for what comes of it.
func (h *Handler) Send(ctx context.Context, req Request) (Receipt, error) {
	type result struct {
		r   Receipt
		err error
	}
	done := make(chan result, 1)
	h.Handle(ctx, req, func(r Receipt, err error) { done <- result{r, err} })
	got := <-done // Handle's own timeout bounds this
	return got.r, got.err
}

// InFlight is the number of commands taken and not yet answered.
func (h *Handler) InFlight() int64 { return h.admitted.commands.Load() }

// Close takes no more commands and returns when those taken are answered.
func (h *Handler) Close() { h.boxes.close() }

// Refresh tells the handler of an event seen in the journal, so that a head
// that another engine has moved is loaded anew. It spares a conflict; nothing
// rests on it.
func (h *Handler) Refresh(s events.Stream, revision uint64) {
	if known, ok := h.heads.get(s); ok && known.revision < revision {
		h.heads.drop(s)
	}
}
