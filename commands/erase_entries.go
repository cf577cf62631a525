package commands

import (
	"context"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// contentOf are the patterns of the aggregates that hold content of an agent.
func contentOf(id string) []events.AggregateName {
	return []events.AggregateName{
		events.AgentStates(id), events.Config(id, ">"), events.EntryConflicts(id, ">"), events.Sent(id),
	}
}

// deleteEntries deletes the entries and the configuration whose last event was
// encrypted with one of the keys, and the content of such tasks, sessions and reminders, and
// returns how many. It ends when there are none.
func (e erase) deleteEntries(ctx context.Context, h *Handler, cmd *Command, keys []string) (deleted int, err error) {
	for _, pattern := range contentOf(cmd.ID)[:2] {
		for {
			n, err := e.deletePass(ctx, h, cmd, pattern, keys)
			deleted += n
			if err != nil {
				return deleted, err
			}
			if n == 0 {
				break
			}
		}
	}
	n, err := e.eraseOwned(ctx, h, cmd, keys)
	return deleted + n, err
}

func (e erase) deletePass(ctx context.Context, h *Handler, cmd *Command, pattern events.AggregateName, keys []string) (deleted int, err error) {
	names, err := h.cfg.Past.Names(ctx, pattern)
	if err != nil {
		return 0, err
	}
	for some := range slices.Chunk(names, erasePage) { // the memory for their values is bounded
		n, err := e.deleteSome(ctx, h, cmd, some, keys)
		if deleted += n; err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// erasePage is the number of entries that an erasure reads at a time.
const erasePage = 4096

func (e erase) deleteSome(ctx context.Context, h *Handler, cmd *Command, names []events.AggregateName, keys []string) (deleted int, err error) {
	ends, err := h.cfg.Past.Ends(ctx, names, history.Bound{}, history.Linearizable)
	if err != nil {
		return 0, err
	}
	var writes []history.Write
	for i := range ends {
		m := &ends[i]
		if m.Bad != nil {
			return deleted, m.Bad
		}
		key, _, _ := m.Sealed()
		if !m.Erased && (m.Type != events.StateSet && m.Type != events.ConfigSet || !slices.Contains(keys, key)) {
			continue
		}
		evs := []events.Event{e.deletion(&m.Record, h.cfg.Now())}
		if err := h.complete(ctx, evs, headAt(&m.Record), cmd, h.cfg.Now()); err != nil {
			return deleted, err
		}
		writes = append(writes, history.Writes(m.Name, m.Revision, "", evs)...)
	}
	return e.appendAll(ctx, h, writes)
}

// appendAll appends events of one partition, in several batches where they are many.
func (e erase) appendAll(ctx context.Context, h *Handler, writes []history.Write) (appended int, err error) {
	for len(writes) > 0 {
		n := min(len(writes), forkEvents)
		done, err := h.journal.Append(ctx, writes[:n])
		for _, w := range writes[:n] {
			h.heads.drop(w.Name)
		}
		if err != nil {
			return appended, err
		}
		h.stats.Appends.Add(int64(n))
		h.observe(writes[:n], done.Revision)
		writes, appended = writes[n:], appended+n
	}
	return appended, nil
}

// headAt is the head of an aggregate at an event, without its state.
func headAt(rec *events.Record) *head {
	return &head{revision: rec.Revision, version: rec.Version, digest: rec.Digest}
}

// deletion is the event that deletes an entry after its last event. It has no content.
func (e erase) deletion(last *events.Record, now time.Time) events.Event {
	at := now
	if !at.After(last.Timestamp) {
		at = last.Timestamp.Add(1)
	}
	ev := events.Event{Type: events.StateDeleted, Aggregate: last.Aggregate, ID: last.ID, Key: last.Key, Timestamp: at}
	data := events.StateWrite{Strategy: string(agent.LastWriteWins), Request: e.request, Erased: true}
	if last.Aggregate == "config" {
		ev.Type, data.Strategy = events.ConfigUnset, ""
	}
	ev.Data = data.Encode()
	return ev
}

// countErased counts the entries and the configuration entries of an agent whose last event
// is of one of the commands, by their ids.
func (h *Handler) countErased(ctx context.Context, id string, commands []string) (entries, config int, err error) {
	count := func(pattern events.AggregateName) (n int, err error) {
		names, err := h.cfg.Past.Names(ctx, pattern)
		if err != nil {
			return 0, err
		}
		for some := range slices.Chunk(names, erasePage) {
			ends, err := h.cfg.Past.Ends(ctx, some, history.Bound{}, history.Linearizable)
			if err != nil {
				return 0, err
			}
			for i := range ends {
				if slices.Contains(commands, ends[i].CommandID) {
					n++
				}
			}
		}
		return n, nil
	}
	if entries, err = count(events.AgentStates(id)); err == nil {
		config, err = count(events.Config(id, ">"))
	}
	return entries, config, err
}
