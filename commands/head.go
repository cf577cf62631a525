package commands

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// head is the end of an aggregate's events: all that a decision needs. A stale
// head costs a retry, never a wrong decision, as the journal compares.
type head struct {
	revision   uint64 // of the last event; 0 = there is none
	version    uint64
	digest     string
	recordedAt time.Time
	commandID  string
	state      any // folded; nil before the first event
	bytes      int // of the last event, if the state shares them
	written    int // inside an atomic batch: the number of its write, from 1
}

// load returns the head of an aggregate, cached or from the journal.
func (h *Handler) load(ctx context.Context, name events.AggregateName, fold func(*events.Event) (any, error)) (*head, error) {
	if known, ok := h.heads.get(name); ok {
		return known, nil
	}
	rec, ok, err := h.journal.Last(ctx, name, history.Linearizable)
	if err != nil {
		return nil, err
	}
	loaded := &head{}
	if ok {
		if loaded, err = headOf(&rec, fold); errors.Is(err, errRefold) {
			loaded, err = h.refold(ctx, &rec, err)
		}
		if err != nil {
			return nil, err
		}
	}
	h.heads.put(name, loaded)
	return loaded, nil
}

// PreloadTask reads the end of a task into memory, for a command that is expected. Where
// it cannot, the command does.
func (h *Handler) PreloadTask(ctx context.Context, id string) {
	name := events.Task(id)
	if _, known := h.heads.get(name); known {
		return
	}
	rec, ok, err := h.journal.Last(ctx, name, history.Linearizable)
	if err != nil || !ok {
		return
	}
	if loaded, err := headOf(&rec, taskFold.carried); err == nil {
		h.heads.cache.SetIfAbsent(name, loaded) // a command may have changed the task meanwhile
	}
}

// headOf folds an aggregate's last event into its head.
func headOf(rec *events.Record, fold func(*events.Event) (any, error)) (*head, error) {
	state, err := fold(&rec.Event)
	if err != nil {
		return nil, err
	}
	h := &head{
		revision: rec.Revision, version: rec.Version, digest: rec.Digest,
		recordedAt: rec.RecordedAt, commandID: rec.CommandID, state: state,
	}
	if _, light := state.(agent.Entry); state != nil && !light {
		h.bytes = len(rec.Data) + len(rec.State)
	}
	return h, nil
}

// maxCachedValue is the size in bytes up to which the value of an entry stays in
// memory: counters and small objects are computed without a read.
const maxCachedValue = 512

// cached is the head as it stays in memory, without the bytes of the entry's event and
// without a larger value.
func (h *head) cached() *head {
	e, ok := h.state.(agent.Entry)
	if !ok || e.Value == nil {
		return h
	}
	c := *h
	if c.bytes = len(e.Value); c.bytes <= maxCachedValue {
		e.Value = bytes.Clone(e.Value)
	} else {
		e.Value, c.bytes = nil, 0
	}
	c.state = e
	return &c
}

// dropValueless drops the cached head that a command cannot compute with, so that load
// reads the entry with its value.
func (h *Handler) dropValueless(cmd *Command) {
	if !cmd.computes && !cmd.compares {
		return
	}
	if known, ok := h.heads.get(cmd.Name); ok {
		if e, ok := known.state.(agent.Entry); ok && e.Exists && e.Value == nil {
			h.heads.drop(cmd.Name)
		}
	}
}

// stateless is the fold of losing writes and of messages, of which only the end is needed.
func stateless(*events.Event) (any, error) { return nil, nil }

// heads caches the heads used last, bounded by their size in bytes.
type heads struct {
	cache *otter.Cache[events.AggregateName, *head]
}

const headOverhead = 400 // struct, state, cache node and strings: 428 measured for a small entry

func newHeads(maxBytes uint64) *heads {
	return &heads{cache: otter.Must(&otter.Options[events.AggregateName, *head]{
		MaximumWeight: maxBytes,
		Weigher: func(name events.AggregateName, h *head) uint32 {
			return uint32(headOverhead + len(name) + h.bytes)
		},
	})}
}

func (h *heads) get(name events.AggregateName) (*head, bool) { return h.cache.GetIfPresent(name) }
func (h *heads) put(name events.AggregateName, v *head)      { h.cache.Set(name, v.cached()) }
func (h *heads) drop(name events.AggregateName)              { h.cache.Invalidate(name) }
