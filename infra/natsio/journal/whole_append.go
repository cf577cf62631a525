package journal

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// A server that starts anew knows only the message ids of what it still holds:
// of what was trimmed meanwhile its duplicate window has no memory. So for as
// long after a trim as a client may count on that window, the archive is asked.

// trimMark is when a partition was last trimmed, and when that was looked up.
type trimMark struct{ at, looked time.Time }

const (
	// markAge is how old what is known of the mark may be: no server restarts
	// faster after a trim.
	markAge = time.Second
	// clockRoom is how far the clocks of engines, clients and of who trims may
	// differ.
	clockRoom = 30 * time.Second
	// windowGone is how long after a trim the archive is asked.
	windowGone = commands.DuplicateWindow + 2*clockRoom
)

// forgotten tells whether the duplicate window may lack what a command has
// caused: it was trimmed a moment ago, and the command's id is not younger.
func (w Whole) forgotten(ctx context.Context, partition int, commandID string) (bool, error) {
	if w.Archive == nil {
		return false, nil
	}
	m := w.marks[partition].Load()
	if m == nil || time.Since(m.looked) > markAge {
		_, at, err := w.trimmed(ctx, partition)
		if err != nil {
			return false, err
		}
		m = &trimMark{at, time.Now()}
		w.marks[partition].Store(m)
	}
	if time.Since(m.at) > windowGone {
		return false, nil
	}
	made, timed := commands.MadeAt(commandID)
	return !timed || made.Before(m.at.Add(clockRoom)), nil
}

// Append implements commands.Journal.
func (w Whole) Append(ctx context.Context, s events.Stream, after uint64, id string, evs []events.Event) (history.Appended, error) {
	revision, err := w.archived(ctx, s, &evs[0])
	if err != nil || revision > 0 {
		return history.Appended{Revision: revision, Duplicate: revision > 0}, err
	}
	return w.Journal.Append(ctx, s, after, id, evs)
}

// AppendAll implements commands.Batcher: a command of before refuses the batch,
// as the duplicate window would.
func (w Whole) AppendAll(ctx context.Context, writes []history.Write) (uint64, error) {
	for i := range writes {
		if writes[i].ID == "" {
			continue
		}
		if revision, err := w.archived(ctx, writes[i].Stream, writes[i].Event); err != nil || revision > 0 {
			return 0, history.ErrOutcomeUnknown
		}
	}
	return w.Journal.AppendAll(ctx, writes)
}

// archived is the revision of the first event that the event's command caused,
// where the archive has to be asked for it; 0 = none. A command that lost has
// its event beside the entry's stream.
func (w Whole) archived(ctx context.Context, s events.Stream, ev *events.Event) (uint64, error) {
	partition := w.Partition(s.ID())
	if forgotten, err := w.forgotten(ctx, partition, ev.CommandID); err != nil || !forgotten {
		return 0, err
	}
	streams := []events.Stream{s}
	switch ev.Type {
	case events.StateSet, events.StateDeleted:
		streams = append(streams, events.EntryConflicts(ev.ID, ev.Key))
	case events.StateSuperseded, events.StateRejected:
		streams = append(streams, events.StateEntry(ev.ID, ev.Key))
	}
	for _, s := range streams {
		if rec, ok, err := w.Archive.OfCommand(ctx, partition, s, ev.CommandID); err != nil || ok {
			return rec.Revision, err
		}
	}
	return 0, nil
}
