package export

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Checked is a file that was read once without an error.
type Checked struct {
	Header     Header
	Sum        string // digest of the file
	Unreadable int    // events that this build cannot decode; an import keeps their bytes
	Largest    int    // bytes of the largest event and its name
	LargestAt  int    // its line
	ids        map[position]string
}

// position names an event.
type position struct {
	partition int
	revision  uint64
}

// MessageID is the id under which the journal's duplicate window knows the
// first event of a command. An import stores recent events under it, so that a
// client that repeats a command after the import gets its first receipt.
type MessageID func(aggregate events.AggregateName, commandID string) string

// Check reads a whole file. It checks the form and the digest of the file, that
// every event is in the partition and under the name of its aggregate, and that
// it continues the digest chain of the aggregate. step is called after each event.
func Check(path string, id MessageID, step func()) (*Checked, error) {
	r, file, err := open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c := &Checked{Header: r.Header, ids: map[position]string{}}
	chains := history.NewChains()
	since := time.Now().Add(-2 * history.DuplicateWindow)
	known := map[string]bool{}
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			c.Sum = r.Sum
			return c, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if home := events.Partition(ev.Stream.ID(), r.Header.Partitions); home != ev.Partition {
			return nil, fmt.Errorf("%s: %w", path, r.damaged("%s is in partition %d and belongs into %d", ev.Stream, ev.Partition, home))
		}
		if size := len(ev.Body) + len(ev.Stream); size > c.Largest {
			c.Largest, c.LargestAt = size, r.Line()
		}
		m := history.Message{Record: events.Record{Name: ev.Stream, Partition: ev.Partition, Revision: ev.Revision}}
		if m.Event, m.Bad = events.Decode(ev.Body); m.Bad != nil {
			c.Unreadable++
		} else if home := m.Home(); home != "" && home != ev.Stream {
			return nil, fmt.Errorf("%s: %w", path, r.damaged("the event is of %s, its subject is of %s", home, ev.Stream))
		}
		if err := chains.Follow(&m); err != nil {
			return nil, fmt.Errorf("%s: %w", path, r.damaged("%w", err))
		}
		if m.Bad == nil && m.RecordedAt.After(since) {
			if id := id(decidedOn(&m.Record), m.CommandID); !known[id] {
				known[id], c.ids[position{ev.Partition, ev.Revision}] = true, id
			}
		}
		step()
	}
}

// decidedOn is the aggregate that the command of an event was decided on: a
// conflict is stored beside the entry that it is about.
func decidedOn(rec *events.Record) events.AggregateName {
	if rec.Type == events.StateSuperseded || rec.Type == events.StateRejected {
		return events.StateEntry(rec.ID, rec.Key)
	}
	return rec.Name
}

// open opens a file for reading.
func open(path string) (*Reader, io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	u, err := Decompress(f)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	both := closers{u, f}
	r, err := NewReader(u)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), both.Close())
	}
	return r, both, nil
}

// closers close in order.
type closers []io.Closer

func (all closers) Close() (err error) {
	for _, c := range all {
		err = errors.Join(err, c.Close())
	}
	return err
}
