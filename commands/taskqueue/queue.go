package taskqueue

import (
	"container/heap"
	"container/list"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
)

// Config of a Queue.
type Config struct {
	// Claim executes task.<id>.next.
	Claim func(ctx context.Context, req commands.Request) (commands.Receipt, error)
	// Permit decides about a sender; see commands.Handler.PermitNext. nil = all may.
	Permit func(ctx context.Context) (commands.Condition, error)
	// Load yields the last event, or at least id, state and revision, of every task that waits
	// or was started in the time of Remembered; of others it may.
	Load func(ctx context.Context, yield func(rec *events.Record)) error
	// CaughtUp waits until Changed has been called for all events that are in the journal now.
	CaughtUp func(ctx context.Context) error
	// Preload prepares the claim of a task that is next; nil = nothing is prepared.
	Preload func(ctx context.Context, id string)
	Now     func() time.Time
	Bytes   int // of the index; default 64 MiB. Tasks beyond it are read from the journal when it runs empty.
	Log     *slog.Logger
}

// Queue chooses tasks for those who ask for the next one. It follows the journal
// through Changed and starts from what Load yields.
type Queue struct {
	cfg     Config
	started time.Time

	mu      sync.Mutex
	index   index
	known   map[string]*entry
	early   entries               // tasks that may not be claimed yet
	waiting *list.List            // of *waiter, in the order of their arrival
	served  map[string]uint64     // by agent: when it was given a task last
	turn    uint64                // of served
	lost    map[[2]string]bool    // agents, and agents with kinds, of which tasks were left out for lack of room
	recent  recent                // command ids and what they have claimed
	flights map[[3]string]*flight // by sender, agent and command id
	loading chan struct{}         // closed when the load under way has ended
	loaded  bool                  // no load is under way
	wake    chan struct{}         // for Run
	ahead   chan string           // tasks to preload
}

// New returns an empty queue; call Run.
func New(cfg Config) *Queue {
	if cfg.Bytes == 0 {
		cfg.Bytes = 64 << 20
	}
	return &Queue{
		cfg: cfg, started: cfg.Now(), index: index{groups: map[string]*group{}}, known: map[string]*entry{},
		early:   entries{less: func(a, b *entry) bool { return a.notBefore < b.notBefore }},
		waiting: list.New(), served: map[string]uint64{}, lost: map[[2]string]bool{}, recent: newRecent(),
		flights: map[[3]string]*flight{}, loading: make(chan struct{}), wake: make(chan struct{}, 1), ahead: make(chan string, 16),
	}
}

// fields are those of a task's state that the queue needs.
type fields struct {
	Status    task.Status `json:"status"`
	Kind      string      `json:"kind"`
	AgentID   string      `json:"agent_id"`
	Priority  int         `json:"priority"`
	NotBefore time.Time   `json:"not_before"`
	ClaimID   string      `json:"claim_id"`
	CreatedAt time.Time   `json:"created_at"`
	StartedAt time.Time   `json:"started_at"`
}

// Changed takes the state of a task from its event at a revision. An event that is older
// than the one before it changes nothing.
func (q *Queue) Changed(id string, state []byte, revision uint64) {
	var f fields
	if json.Unmarshal(state, &f) != nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.ClaimID != "" && q.cfg.Now().Sub(f.StartedAt) < Remembered {
		q.recent.add(claimID{f.AgentID, f.ClaimID}, id, f.StartedAt)
	}
	e := q.known[id]
	if e != nil && (revision < e.revision || revision == e.revision && f.Status == task.Created) {
		return
	}
	if e != nil {
		q.forget(e)
	}
	if f.Status != task.Created {
		return
	}
	e = &entry{id: id, kind: f.Kind, agent: f.AgentID, priority: f.Priority, created: f.CreatedAt.UnixNano(), revision: revision, place: -1}
	if !f.NotBefore.IsZero() {
		e.notBefore = f.NotBefore.UnixNano()
	}
	q.known[id] = e
	q.place(e)
}

// Observe takes an event that this engine has appended, so that a task which it has
// acknowledged is found at once.
func (q *Queue) Observe(rec *events.Record) {
	if rec.Aggregate == "task" {
		q.Changed(rec.ID, rec.State, rec.Revision)
	}
}

// forget drops a task; the caller holds the lock, as in all methods below.
func (q *Queue) forget(e *entry) {
	delete(q.known, e.id)
	switch {
	case e.line != nil:
		q.index.remove(e)
	case e.place >= 0:
		heap.Remove(&q.early, e.place)
	}
	e.place = -1
}

// place gives a task to the agent that waits for it, or puts it where it waits.
func (q *Queue) place(e *entry) {
	if e.notBefore > q.cfg.Now().UnixNano() {
		heap.Push(&q.early, e)
		q.signal()
		return
	}
	if w := q.waiterFor(e); w != nil {
		q.give(w, e)
		return
	}
	q.index.push(e)
	for q.index.bytes > q.cfg.Bytes {
		off := q.index.shrink()
		if off == nil {
			return
		}
		for _, e := range off {
			delete(q.known, e.id)
			q.lost[[2]string{e.agent, e.kind}], q.lost[[2]string{e.agent, ""}] = true, true
		}
	}
}

// promote puts tasks whose time has come where they wait.
func (q *Queue) promote() {
	now := q.cfg.Now().UnixNano()
	for q.early.Len() > 0 && q.early.all[0].notBefore <= now {
		e := heap.Pop(&q.early).(*entry)
		e.place, e.notBefore = -1, 0
		q.place(e)
	}
}

// pop takes the first task for a waiter out of its line; nil = there is none.
func (q *Queue) pop(w *waiter) *entry {
	q.promote()
	e := q.index.first(w.kind, w.agent)
	if e != nil {
		q.index.remove(e)
		e.place = -1
		q.serve(w.agent)
		q.preload(q.index.first(w.kind, w.agent))
	}
	return e
}

// preload prepares the claim of a task while another one is claimed.
func (q *Queue) preload(e *entry) {
	if e == nil || e.preloaded || q.cfg.Preload == nil {
		return
	}
	select {
	case q.ahead <- e.id:
		e.preloaded = true
	default:
	}
}

// back puts a task back that could not be claimed now.
func (q *Queue) back(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.known[e.id] == e {
		q.place(e)
	}
}

// claimed keeps a task out of all lines until the journal's event after the claim at a
// revision is seen; revision 0 = another engine or a direct command took it.
func (q *Queue) claimed(e *entry, revision uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.known[e.id] != e:
	case revision == 0:
		q.forget(e)
	default:
		e.revision = revision
	}
}

// Waiting returns how many tasks can be claimed and how many requests wait for one.
func (q *Queue) Waiting() (tasks, requests int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.index.count, q.waiting.Len()
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Reload reads all tasks again, because the journal is not the one that was read before.
func (q *Queue) Reload() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.known {
		q.forget(e)
	}
	q.recent = newRecent()
	q.reload()
}

// reload starts a load unless one is under way.
func (q *Queue) reload() {
	if q.loaded {
		q.loaded, q.loading = false, make(chan struct{})
		q.signal()
	}
}
