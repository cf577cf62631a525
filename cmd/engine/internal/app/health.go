package app

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
)

// health asks the stores in the background. What /readyz and the metrics show comes
// from its last look, so that they answer at once whatever the stores do.
type health struct {
	e        *Engine
	stopping atomic.Bool
	links    atomic.Pointer[links]

	mu      sync.Mutex
	storage deployment.StorageStatus
	keys    uint64            // in the bucket of entries
	letters map[string]uint64 // dead letters by source
	queued  uint64            // enqueued commands without an outcome
	oldest  time.Time         // when the oldest of them was stored; zero = there is none
	stuck   *int              // tasks; nil = not known
}

// startHealth returns after the first question to the journal.
func startHealth(e *Engine) *health {
	h := &health{e: e}
	r := e.readiness
	h.links.Store(h.connections())
	e.stops.Add(lifecycle.InBackground(h.lookAtConnections))
	r.Check("nats", h.nats)
	r.Check("views", h.halted)
	r.Check("database", h.database)
	r.Check("buckets", func() (readiness.Level, string) {
		if full := e.model.hot.Full(); full != "" {
			return readiness.Degraded, full
		}
		return readiness.OK, ""
	})
	for _, view := range e.views.names() {
		r.Check("view."+view, func() (readiness.Level, string) { return h.view(view) })
	}
	probe := func(p readiness.Probe) {
		e.stops.Add(lifecycle.InBackground(func(ctx context.Context) { r.Run(ctx, p) }))
	}
	probe(readiness.Probe{Component: "journal", Level: readiness.NotReady, Ask: h.journal})
	probe(readiness.Probe{Component: "storage", Level: readiness.Degraded, Every: 2 * time.Second, Ask: h.look})
	if e.keys != nil {
		probe(readiness.Probe{Component: "keys", Level: readiness.NotReady, Ask: h.keyStore})
	}
	if e.postgres.DB != nil {
		probe(readiness.Probe{Component: "postgres", Level: readiness.Degraded, Ask: func(ctx context.Context) error {
			return servers.WithoutAddresses(e.postgres.DB.Ping(ctx))
		}})
		e.stops.Add(lifecycle.InBackground(h.countStuck))
	}
	return h
}

// stop ends the checks: connections and views that stop are no problem.
func (h *health) stop(context.Context) { h.stopping.Store(true) }

// links is what the last look at the NATS connections has found.
type links struct {
	level  readiness.Level
	reason string
	at     time.Time
}

const (
	linksEvery = 200 * time.Millisecond
	linksLate  = 2 * time.Second // a look that takes longer waits for a server
)

// lookAtConnections looks in the background: the client of NATS says nothing while it dials,
// and a frozen server takes its connection and keeps it waiting.
func (h *health) lookAtConnections(ctx context.Context) {
	for wait.Sleep(ctx, linksEvery) == nil {
		h.links.Store(h.connections())
	}
}

// connections looks at the connections and their subscriptions. A connection that is closed
// never comes back.
func (h *health) connections() *links {
	l := &links{}
	l.level, l.reason = h.subscriptions()
	for _, nc := range h.e.nats.Kept() {
		switch status := nc.Status(); status {
		case nats.CONNECTED, nats.DRAINING_SUBS, nats.DRAINING_PUBS:
		case nats.CLOSED:
			return &links{readiness.Failed, "the connection " + nc.Opts.Name + " is closed and stays so: restart the engine", time.Now()}
		default:
			l.level, l.reason = readiness.NotReady, "the connection "+nc.Opts.Name+" is "+status.String()
		}
	}
	l.at = time.Now()
	return l
}

// nats reports connections that are away, and subscriptions that the server has ended.
func (h *health) nats() (readiness.Level, string) {
	l := h.links.Load()
	switch {
	case h.stopping.Load():
		return readiness.OK, ""
	case l.level == readiness.OK && time.Since(l.at) > linksLate:
		return readiness.NotReady, "a connection waits for a server that does not answer"
	}
	return l.level, l.reason
}

// subscriptions reports what the server refuses. Without answers of the server, without
// requests, or without replies to them, no command is executed.
func (h *health) subscriptions() (readiness.Level, string) {
	refused := h.e.nats.Subs.Refused()
	if len(refused) == 0 {
		return readiness.OK, ""
	}
	level, texts := readiness.Degraded, make([]string, len(refused))
	for i, right := range refused {
		if strings.HasPrefix(right.Subject, h.e.nats.Subjects.Root("commands.")) || strings.HasPrefix(right.Subject, "_INBOX.") {
			level = readiness.NotReady
		}
		texts[i] = right.String()
	}
	return level, "the server refuses " + strings.Join(texts, ", ")
}

func (h *health) journal(ctx context.Context) error {
	if _, err := h.e.journal.heads(ctx); err != nil {
		return fmt.Errorf("it does not answer: %w", err)
	}
	return publicError(h.e.journal.Writable(ctx))
}

func (h *health) keyStore(ctx context.Context) error {
	if err := h.e.keys.Check(ctx); err != nil {
		return publicError(err)
	}
	if err := h.e.keyStore.Writable(ctx); err != nil {
		return fmt.Errorf("it takes no keys: agents without one cannot be written: %w", err)
	}
	return nil
}

// fullAt is the share of the storage from which it counts as nearly full.
const fullAt = 0.9

func (h *health) look(ctx context.Context) error {
	keys, err := h.e.buckets.entries.Len(ctx)
	if err != nil {
		return fmt.Errorf("the bucket AGENT_STATE does not answer: %w", err)
	}
	s, err := h.e.nats.Storage(ctx, h.e.cfg.Reserve)
	if err != nil {
		return fmt.Errorf("the server does not say how much storage is used: %w", err)
	}
	letters, lettersErr := h.e.intake.DeadLetterCounts(ctx)
	queued, oldest, queuedErr := h.e.intake.Enqueued(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys, h.storage = keys, s
	if lettersErr == nil {
		h.letters = letters
	}
	if queuedErr == nil {
		h.queued, h.oldest = queued, oldest
	}
	if s.Limit > 0 && float64(s.Used) > fullAt*float64(s.Limit) {
		return fmt.Errorf("%d of %d bytes of storage are used", s.Used, s.Limit)
	}
	return nil
}

func (h *health) last() (deployment.StorageStatus, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.storage, h.keys
}

func (h *health) deadLetters() map[string]uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.letters
}

// enqueued is the number of enqueued commands without an outcome, and the age of the
// oldest. An age goes on while the stream does not answer.
func (h *health) enqueued() (n uint64, age time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.oldest.IsZero() {
		return h.queued, 0
	}
	return h.queued, max(0, time.Since(h.oldest))
}

const (
	// stuckAfter is the silence from which on a started task without a lease or a deadline
	// counts as stuck.
	stuckAfter = time.Hour
	stuckEvery = 30 * time.Second
)

// countStuck counts the stuck tasks in SQL.
func (h *health) countStuck(ctx context.Context) {
	for ctx.Err() == nil {
		if n, err := h.e.model.durable.StuckTasks(ctx, time.Now().Add(-stuckAfter)); err == nil {
			h.mu.Lock()
			h.stuck = &n
			h.mu.Unlock()
		}
		_ = wait.Sleep(ctx, stuckEvery)
	}
}

// stuckTasks is nil where the number is not known.
func (h *health) stuckTasks() *int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stuck
}

// halted reports views for which an operator must decide.
func (h *health) halted() (readiness.Level, string) {
	for _, v := range h.e.views.status(nil) {
		if v.State == projections.Halted && !isDeclared(v.Name) { // nothing but the view's readers waits for a declared one
			return readiness.NotReady, "view " + v.Name + " is halted: " + v.Reason
		}
	}
	return readiness.OK, ""
}

// database reports an engine whose database is not that of the engine that runs the views.
func (h *health) database() (readiness.Level, string) {
	if h.e.views.broadcast == nil {
		return readiness.OK, ""
	}
	if views := h.e.views.broadcast.Elsewhere(); len(views) > 0 {
		return readiness.Degraded, "another engine of this journal writes the rows of " + strings.Join(views, ", ") +
			" into another database: give both the same --postgres and --postgres-schema; until then this engine reads its own rows, which are older"
	}
	return readiness.OK, ""
}

// view reports a view that waits for its store.
func (h *health) view(name string) (readiness.Level, string) {
	if h.stopping.Load() {
		return readiness.OK, ""
	}
	for _, v := range h.e.views.status(h.e.journal.lastHeads()) {
		if v.Name == name && v.State == projections.Waiting {
			return readiness.Degraded, fmt.Sprintf("it waits, %s and %.0f s behind: %s", counted.Of(v.LagEvents, "event"), v.LagSeconds, v.Reason)
		}
	}
	return readiness.OK, ""
}

// problem is the reason of a component's problem; empty = it has none.
func (h *health) problem(component string) string {
	report := h.e.readiness.Report()
	for _, p := range report.Problems {
		if p.Component == component {
			return p.Reason
		}
	}
	return ""
}
