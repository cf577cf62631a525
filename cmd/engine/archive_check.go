package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// checkedDump is a file that was read once and found good.
type checkedDump struct {
	header     export.Header
	sum        string
	unreadable int // events that this build cannot read; they stay as they are
	recent     map[spot]string
}

// spot is where an event is.
type spot struct {
	partition int
	revision  uint64
}

// checkDump reads a whole file: its form and digest, and that every event is
// where its aggregate belongs and follows the one before it in its chain.
func checkDump(path string) (*checkedDump, error) {
	r, file, err := openDump(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c := &checkedDump{header: r.Header, recent: map[spot]string{}}
	bar := startProgress(int(r.Header.Events()), "events checked")
	defer bar.end()
	chains := history.NewChains()
	since := time.Now().Add(-2 * commands.DuplicateWindow)
	known := map[string]bool{}
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			c.sum = r.Sum
			return c, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if home := events.Partition(ev.Stream.ID(), r.Header.Partitions); home != ev.Partition {
			return nil, fmt.Errorf("%s: %w: %s is in partition %d and belongs into %d", path, export.ErrDamaged, ev.Stream, ev.Partition, home)
		}
		m := history.Message{Record: events.Record{Stream: ev.Stream, Partition: ev.Partition, Revision: ev.Revision}}
		if m.Event, m.Bad = events.Decode(ev.Body); m.Bad != nil {
			c.unreadable++
		}
		if err := chains.Follow(&m); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", path, export.ErrDamaged, err)
		}
		if m.Bad == nil && m.RecordedAt.After(since) {
			if id := messageID(&m.Record); !known[id] {
				known[id], c.recent[spot{ev.Partition, ev.Revision}] = true, id
			}
		}
		bar.done.Add(1)
	}
}

// messageID is the id under which the journal's duplicate window knows the
// first event of a command. A client that sends a command of just now again,
// after the import, finds it by that; one of before is searched for.
func messageID(rec *events.Record) string {
	s := rec.Stream
	if rec.Type == events.StateSuperseded || rec.Type == events.StateRejected {
		s = events.StateEntry(rec.ID, rec.Key)
	}
	return commands.MessageID(s, rec.CommandID)
}
