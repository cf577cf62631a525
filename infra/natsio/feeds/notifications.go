package feeds

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/maypok86/otter/v2"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Notifications is the target of the view notifications: it publishes what the
// durable view has committed on agents.state.<agent>, in the stream AGENT_STATE
// , one message for each entry of a batch. A crash between the
// publication and the position publishes a batch again; the message id is the
// revision's, so that the stream drops a repetition inside its duplicate
// window, and listeners recognise a later one by its revision.
type Notifications struct {
	streams   *Streams
	journal   string // its short name, for message ids
	history   *history.History
	positions Positions
	last      *otter.Cache[events.Stream, written]
}

// Positions stores the view's position in each partition.
type Positions interface {
	// Load returns the position. Fails with history.ErrForeignJournal where it
	// is of another journal.
	Load(ctx context.Context, partition int, journal string) (uint64, error)
	// Save moves the position. Fails with projections.ErrFenced where it is not
	// from.
	Save(ctx context.Context, partition int, from, to uint64) error
}

// written is the value that one event of an entry has left; nil = none.
type written struct {
	version uint64
	value   jsontext.Value
}

var (
	_ projections.Target = (*Notifications)(nil)
	_ projections.Folder = (*Notifications)(nil)
)

// cacheBytes bounds the values that are kept as old values of the next change.
const cacheBytes = 16 << 20

// NewNotifications publishes the changes of a journal's state entries.
func NewNotifications(s *Streams, h *history.History, positions Positions) *Notifications {
	return &Notifications{streams: s, journal: h.Incarnation(), history: h, positions: positions,
		last: otter.Must(&otter.Options[events.Stream, written]{
			MaximumWeight: cacheBytes,
			Weigher: func(s events.Stream, w written) uint32 {
				return uint32(200 + len(s) + len(w.value))
			},
		})}
}

// Load implements projections.Target.
func (n *Notifications) Load(ctx context.Context, partition int, id string) (uint64, error) {
	return n.positions.Load(ctx, partition, id)
}

// Fold implements projections.Folder: state entries alone.
func (n *Notifications) Fold(batch []history.Message) projections.Changes {
	entries := make([]history.Message, 0, len(batch))
	for _, m := range batch {
		if kind, _, _ := readmodel.RowOf(m.Stream); kind == readmodel.KindEntry {
			entries = append(entries, m)
		}
	}
	c := projections.Fold(entries)
	c.Messages = entries // for what came before each
	return c
}

// Apply implements projections.Target.
func (n *Notifications) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	old, err := n.old(ctx, partition, from, &c)
	if err != nil {
		return fmt.Errorf("read the old values of %d entries: %w", len(c.Entries), err)
	}
	msgs := make([]*nats.Msg, 0, len(c.Entries))
	for i := range c.Entries {
		e := &c.Entries[i]
		if before := old[events.StateEntry(e.Agent, e.Key)]; !e.Deleted || before != nil { // else it was created and deleted within the batch
			msgs = append(msgs, n.message(partition, e, before))
		}
	}
	err = n.streams.send(ctx, msgs)
	if natsio.Missing(err) {
		if _, err = n.streams.Open(ctx, AgentState); err == nil {
			err = n.streams.send(ctx, msgs)
		}
	}
	if err != nil {
		return err
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		w := leftBy(e)
		w.value = bytes.Clone(w.value) // it shares the bytes of its event
		n.last.Set(events.StateEntry(e.Agent, e.Key), w)
	}
	return n.positions.Save(ctx, partition, from, to)
}

// old is the value that each entry had before the batch, nil where there was
// none: the one that the event before the entry's first in the batch has left.
// That event is known by its version, so a replica that lags is noticed. It is
// looked for in memory, at the revision that the first event names, among the
// events up to the batch, and last by the leader and in the archive.
func (n *Notifications) old(ctx context.Context, partition int, from uint64, c *projections.Changes) (map[events.Stream]jsontext.Value, error) {
	old := make(map[events.Stream]jsontext.Value, len(c.Entries))
	var open []*history.Message // the first of each entry whose old value is not known
	for i := range c.Messages {
		m := &c.Messages[i]
		if _, seen := old[m.Stream]; seen || m.Bad != nil {
			continue
		}
		old[m.Stream] = nil
		if m.Version == 1 {
			continue
		}
		if w, ok := n.last.GetIfPresent(m.Stream); ok && w.version == m.Version-1 {
			old[m.Stream] = w.value
			continue
		}
		from = min(from, m.Revision-1) // a retry is of one aggregate, behind the position
		open = append(open, m)
	}
	for ask := byRevision; ask <= byLeader && len(open) > 0; ask++ {
		before, err := n.before(ctx, partition, from, open, ask)
		if err != nil {
			return nil, err
		}
		var left []*history.Message
		for i, m := range open {
			b := &before[i]
			switch e, err := readmodel.EntryOf(&b.Record); {
			case b.Bad != nil: // what it was cannot be said
			case ask < byLeader && b.Version != m.Version-1:
				left = append(left, m)
			case err == nil:
				old[m.Stream] = leftBy(&e).value
			}
		}
		open = left
	}
	return old, nil
}

// Ways to ask for the event before another one, the cheapest first.
const (
	byRevision = iota // that the append of the other one has compared
	byReplica
	byLeader
)

// before asks for the event before each, in their order.
func (n *Notifications) before(ctx context.Context, partition int, from uint64, of []*history.Message, ask int) ([]history.Message, error) {
	names, revisions := make([]events.Stream, len(of)), make([]uint64, len(of))
	for i, m := range of {
		names[i], revisions[i] = m.Stream, m.Prior
	}
	switch ask {
	case byRevision:
		return n.history.EventsAt(ctx, partition, revisions)
	case byReplica:
		return n.history.LastAt(ctx, names, from, history.Fast)
	}
	return n.history.LastAt(ctx, names, from, history.Linearizable)
}

// leftBy is what an event has left of an entry.
func leftBy(e *readmodel.EntryChange) written {
	if e.Deleted {
		return written{version: e.Version}
	}
	return written{version: e.Version, value: e.Value}
}

func (n *Notifications) message(partition int, e *readmodel.EntryChange, old jsontext.Value) *nats.Msg {
	operation, value := "UPDATE", e.Value
	switch {
	case e.Deleted:
		operation, value = "DELETE", nil
	case old == nil:
		operation = "INSERT"
	}
	revision := strconv.FormatUint(e.Revision, 10)
	b := append(make([]byte, 0, 192+len(old)+len(value)), '{')
	b = append(events.AppendString(b, "operation", operation), ',')
	b = append(events.AppendString(b, "agent_id", e.Agent), ',')
	b = append(events.AppendString(b, "state_key", e.Key), `,"old_value":`...)
	b = append(appendValue(b, old), `,"new_value":`...)
	b = append(appendValue(b, value), ',')
	b = append(events.AppendTime(b, "timestamp", e.Timestamp), `,"revision":`...)
	b = append(append(b, revision...), '}')
	return &nats.Msg{Subject: n.streams.Subjects.Root("agents.state.") + e.Agent, Data: b, Header: nats.Header{
		nats.MsgIdHdr:         []string{"sql-" + n.journal + "-" + strconv.Itoa(partition) + "-" + revision},
		natsio.RevisionHeader: []string{revision},
	}}
}

func appendValue(b, value []byte) []byte {
	if value == nil {
		return append(b, "null"...)
	}
	return append(b, value...)
}
