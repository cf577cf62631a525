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

// Notifications is the target of the view notifications: it publishes the
// changes that the durable view has committed, on agents.state.<agent> in the
// stream AGENT_STATE, one message for each entry of a batch. A crash between the
// publication and the save of the position publishes a batch again. The message
// id contains the revision, so the stream drops a repetition inside its duplicate
// window; subscribers recognise a later one by its revision.
type Notifications struct {
	streams   *Streams
	journal   string // its incarnation, for message ids
	history   *history.History
	positions Positions
	last      *otter.Cache[events.AggregateName, entryValue]
}

// Positions stores the view's position in each partition.
type Positions interface {
	// Load returns the position. It fails with history.ErrForeignJournal if the
	// position belongs to another journal.
	Load(ctx context.Context, partition int, journal string) (uint64, error)
	// Save changes the position from from to to. It fails with
	// projections.ErrFenced if the stored position is not from.
	Save(ctx context.Context, partition int, from, to uint64) error
}

// entryValue is the value of an entry after an event; nil = deleted.
type entryValue struct {
	version uint64
	value   jsontext.Value
}

var (
	_ projections.Target = (*Notifications)(nil)
	_ projections.Folder = (*Notifications)(nil)
)

// cacheBytes bounds the cache of last values, the old values of the next changes.
const cacheBytes = 16 << 20

// NewNotifications returns the notifications of a journal's state entries.
func NewNotifications(s *Streams, h *history.History, positions Positions) *Notifications {
	return &Notifications{streams: s, journal: h.Incarnation(), history: h, positions: positions,
		last: otter.Must(&otter.Options[events.AggregateName, entryValue]{
			MaximumWeight: cacheBytes,
			Weigher: func(s events.AggregateName, v entryValue) uint32 {
				return uint32(200 + len(s) + len(v.value))
			},
		})}
}

// Load implements projections.Target.
func (n *Notifications) Load(ctx context.Context, partition int, id string) (uint64, error) {
	return n.positions.Load(ctx, partition, id)
}

// Fold implements projections.Folder; it folds state entries only.
func (n *Notifications) Fold(batch []history.Message) projections.Changes {
	entries := make([]history.Message, 0, len(batch))
	for _, m := range batch {
		if kind, _, _ := readmodel.RowOf(m.Name); kind == readmodel.KindEntry {
			entries = append(entries, m)
		}
	}
	c := projections.Fold(entries)
	c.Messages = entries // for what came before each
	return c
}

// Apply implements projections.Target.
func (n *Notifications) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	old, err := n.oldValues(ctx, partition, from, &c)
	if err != nil {
		return fmt.Errorf("read the old values of %d entries: %w", len(c.Entries), err)
	}
	msgs := make([]*nats.Msg, 0, len(c.Entries))
	for i := range c.Entries {
		e := &c.Entries[i]
		if before := old[events.StateEntry(e.Agent, e.Key)]; !e.Deleted || before != nil { // otherwise the batch creates and deletes it
			if e.Erased {
				before = nil
			}
			msgs = append(msgs, n.message(partition, e, before))
		}
	}
	// gofail: var notify struct{}
	// return context.DeadlineExceeded
	err = n.streams.send(ctx, msgs)
	if natsio.StreamMissing(err) {
		if _, err = n.streams.Open(ctx, AgentState); err == nil {
			err = n.streams.send(ctx, msgs)
		}
	}
	if err != nil {
		return err
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		v := valueAfter(e)
		v.value = bytes.Clone(v.value) // it shares memory with its event
		n.last.Set(events.StateEntry(e.Agent, e.Key), v)
	}
	// gofail: var notified struct{}
	// return context.DeadlineExceeded
	return n.positions.Save(ctx, partition, from, to)
}

// oldValues returns the value of each entry before the batch, nil if there was
// none: the value after the event that precedes the entry's first event in the
// batch. The version identifies that event, so an answer of a lagging replica is
// detected. It is read from memory, at the revision that the append of the first
// event compared, among the events up to the batch, and last from the leader and
// the archive.
func (n *Notifications) oldValues(ctx context.Context, partition int, from uint64, c *projections.Changes) (map[events.AggregateName]jsontext.Value, error) {
	old := make(map[events.AggregateName]jsontext.Value, len(c.Entries))
	var open []*history.Message // the first of each entry whose old value is not known
	for i := range c.Messages {
		m := &c.Messages[i]
		if _, seen := old[m.Name]; seen || m.Bad != nil {
			continue
		}
		old[m.Name] = nil
		if m.Version == 1 {
			continue
		}
		if w, ok := n.last.GetIfPresent(m.Name); ok && w.version == m.Version-1 {
			old[m.Name] = w.value
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
			case b.Bad != nil: // its value is unknown
			case ask < byLeader && b.Version != m.Version-1:
				left = append(left, m)
			case err == nil:
				old[m.Name] = valueAfter(&e).value
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
	names, revisions := make([]events.AggregateName, len(of)), make([]uint64, len(of))
	for i, m := range of {
		names[i], revisions[i] = m.Name, m.Prior
	}
	switch ask {
	case byRevision:
		return n.history.EventsAt(ctx, partition, revisions)
	case byReplica:
		return n.history.LastAt(ctx, names, from, history.Fast)
	}
	return n.history.LastAt(ctx, names, from, history.Linearizable)
}

// valueAfter returns the value of an entry after an event.
func valueAfter(e *readmodel.EntryChange) entryValue {
	if e.Deleted {
		return entryValue{version: e.Version}
	}
	return entryValue{version: e.Version, value: e.Value}
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
