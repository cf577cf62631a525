package commands

import (
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

// head is the resident end of one stream: what a decision needs of its past.
// A stale head costs a retry, never a wrong decision: the journal compares.
type head struct {
	revision   uint64 // of the last event; 0 = the stream is empty
	version    uint64
	digest     string
	recordedAt time.Time
	commandID  string
	state      any // folded; nil while the stream is empty
	bytes      int // of its last event, where the state holds them
	written    int // inside an atomic batch: the place of its event there, from 1
}

// heads keeps the heads used last, bounded by their weight in bytes.
type heads struct {
	cache *otter.Cache[events.Stream, *head]
}

const headOverhead = 400 // struct, state, cache node and strings: 428 measured of a small entry

func newHeads(maxBytes uint64) *heads {
	return &heads{cache: otter.Must(&otter.Options[events.Stream, *head]{
		MaximumWeight: maxBytes,
		Weigher: func(s events.Stream, h *head) uint32 {
			return uint32(headOverhead + len(s) + h.bytes)
		},
	})}
}

func (h *heads) get(s events.Stream) (*head, bool) { return h.cache.GetIfPresent(s) }
func (h *heads) put(s events.Stream, v *head)      { h.cache.Set(s, v) }
func (h *heads) drop(s events.Stream)              { h.cache.Invalidate(s) }

// headOf folds the last event of a stream into its head.
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
		h.bytes = len(rec.Data) + len(rec.State) // the state may share them
	}
	return h, nil
}
