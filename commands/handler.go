// Package commands executes commands. For each it reads the request, queues it
// behind the other commands of its aggregate, loads the aggregate from its last
// event, recognises a command that already took effect, lets the domain decide,
// appends the events with compare-and-set and answers with a receipt. It knows
// the history through its ports, and no technology.
package commands

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// Request is one command as received.
type Request struct {
	Aggregate, ID, Verb string
	CommandID           string // empty = the engine makes one
	Body                []byte // JSON; not kept after the answer
	Internal            bool   // sent by the engine itself: internalVerbs are allowed
	// MadeAt is a time before which the command was certainly not sent, for ids
	// that do not carry their time; deduplication searches from it on. Zero =
	// unknown: deduplication relies on the duplicate window and the archive.
	MadeAt time.Time
}

// Config of a Handler. Zero values take the defaults named here.
type Config struct {
	Bounds     Bounds
	InFlight   int           // commands in flight; default 8192. Beyond: 429.
	WaitBytes  int           // bytes of their bodies; default 256 MiB. Beyond: 429.
	HeadBytes  uint64        // memory for cached heads; default 256 MiB
	Timeout    time.Duration // for one command, queueing included; default 10 s
	Now        func() time.Time
	Archive    history.CommandIndex // nil = none: see dedup.go
	Evictor    Evictor              // nil = an expiry evicts nothing
	Heartbeats Heartbeats           // nil = heartbeats are refused
	Past       *history.History     // nil = forks are refused
	Permit     Permit               // nil = every sender may do everything
	Keys       Keys                 // nil = content is not encrypted, and nothing can be erased
	Peers      Peers                // nil = no other engine writes to the journal
	Eraser     Eraser               // cleans read models after an erasure; nil = there are none
	Trace      *trace.Tracer        // nil = no spans
	// Observe receives every event that this handler appended, before the
	// command is answered. It must not block.
	Observe func(rec events.Record)
}

// Handler executes commands. Several handlers may write to one journal, from
// one or many processes: compare-and-set keeps them consistent.
type Handler struct {
	journal      history.Journal
	cfg          Config
	heads        *heads
	mailboxes    *mailboxes
	admission    admission
	deliveries   deliveries
	long         longRuns
	trims        trims
	archivePause atomic.Int64 // Unix nanoseconds until which an optional question to the archive is skipped
	stats        Stats
	policy       groupcommit.Policy
	acked        acknowledged
}

// NewHandler executes commands on a journal. Close it to drain.
func NewHandler(journal history.Journal, cfg Config) *Handler {
	if cfg.Bounds.BodyBytes == 0 {
		strategies, prefix := cfg.Bounds.Strategies, cfg.Bounds.Prefix
		cfg.Bounds = DefaultBounds()
		cfg.Bounds.Strategies, cfg.Bounds.Prefix = strategies, prefix
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
		// PostgreSQL keeps microseconds: each store has the same time, which at_time finds.
		cfg.Now = func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(events.Record) {}
	}
	h := &Handler{journal: journal, cfg: cfg, heads: newHeads(cfg.HeadBytes)}
	h.admission.max = holding{int64(cfg.InFlight), int64(cfg.WaitBytes)}
	h.deliveries.of = map[string]*delivery{}
	h.mailboxes = newMailboxes(h.executeNext)
	return h
}

// Handle executes req and calls done exactly once, possibly before it returns
// and usually from another goroutine. The error, if any, is a *domain.Error.
// Handle itself never blocks on I/O.
func (h *Handler) Handle(ctx context.Context, req Request, done func(Receipt, error)) {
	// gofail: var commandReceived struct{}
	size := len(req.Body)
	if err := h.admission.enter(ctx, req.Internal, 1, size); err != nil {
		done(Receipt{}, err)
		return
	}
	finish := func(r Receipt, err error) {
		h.admission.leave(ctx, 1, size)
		done(r, err)
	}
	cmd, err := h.read(ctx, req)
	if err == nil {
		err = h.take(&cmd, &req)
	}
	if err != nil {
		finish(Receipt{}, err)
		return
	}
	answer := h.releasing(cmd.taken, finish)
	if !h.mailboxes.post(&job{ctx: ctx, deadline: time.Now().Add(h.cfg.Timeout), cmd: cmd, finish: answer}) {
		answer(Receipt{}, domain.Errorf(domain.Unavailable, "engine.stopping", "the engine is stopping; send the same command id again"))
	}
}

// Send executes req and waits for its answer.
func (h *Handler) Send(ctx context.Context, req Request) (Receipt, error) {
	answers := make(chan Result, 1)
	h.Handle(ctx, req, func(r Receipt, err error) { answers <- Result{r, err} })
	got := <-answers // Config.Timeout bounds this
	return got.Receipt, got.Err
}

// InFlight is the number of commands that are not yet answered.
func (h *Handler) InFlight() int64 { return h.admission.inFlight() }

// Close accepts no more commands and returns when the accepted ones are
// answered.
func (h *Handler) Close() { h.long.close(h.mailboxes.close) }

// Refresh reports an event seen in the journal: the cached head of an aggregate
// that another engine has changed is dropped. It avoids a conflict; correctness
// does not depend on it.
func (h *Handler) Refresh(name events.AggregateName, revision uint64) {
	if known, ok := h.heads.get(name); ok && known.revision < revision {
		h.heads.drop(name)
	}
}

// Forget drops all that is cached of the journal, because it is not the one that was
// read before.
func (h *Handler) Forget() {
	h.heads.cache.InvalidateAll()
	h.acked.last.Clear()
}

// Stats counts the handler's work since its start.
type Stats struct {
	Appends   atomic.Int64 // events stored
	Conflicts atomic.Int64 // appends that lost against another writer
	Replays   atomic.Int64 // repeated commands, answered with their first receipt
	Unasked   atomic.Int64 // commands whose id carries no time, decided while the archive did not answer
}

// Stats are the handler's counters, live.
func (h *Handler) Stats() *Stats { return &h.stats }
