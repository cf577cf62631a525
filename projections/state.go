package projections

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// State folds a history into the rows that exist at one moment. The zero value
// folds everything up to the head.
type State struct {
	Revision uint64                          // last revision of every partition; 0 = its head
	Time     time.Time                       // last recording time; zero = no bound
	Match    func(events.AggregateName) bool // which aggregates; nil = all
	Step     func(at, head uint64)           // reports progress inside a partition; nil = no report
	Bad      []string                        // the events that could not be folded
	rows     map[events.AggregateName][]byte // as JSON objects
}

// Fold folds one partition. A bound in time needs the whole partition, because
// recording times are not in the order of revisions.
func (s *State) Fold(ctx context.Context, src history.Source, partition int) error {
	head, err := src.Head(ctx, partition)
	if s.Revision > 0 {
		head = min(head, s.Revision)
	}
	if err != nil || head == 0 {
		return err
	}
	cur, err := src.Read(ctx, partition, 0)
	if err != nil {
		return err
	}
	defer cur.Stop()
	for n := 0; ; n++ {
		select {
		case m, open := <-cur.Messages():
			switch {
			case !open:
				return fmt.Errorf("read partition %d: %w", partition, cur.Err())
			case m.Revision > head: // the event at the bound itself may be trimmed
				return nil
			}
			s.add(&m)
			if s.Step != nil && n%5000 == 0 {
				s.Step(m.Revision, head)
			}
			if m.Revision == head {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Rows are the rows in no order, each as a JSON object.
func (s *State) Rows() [][]byte { return slices.Collect(maps.Values(s.rows)) }

func (s *State) add(m *history.Message) {
	switch {
	case s.Match != nil && !s.Match(m.Name):
		return
	case m.Bad != nil:
		s.bad(m, "decode", m.Bad)
		return
	case !s.Time.IsZero() && m.RecordedAt.After(s.Time):
		return
	}
	changes := Fold([]history.Message{*m})
	for _, poison := range changes.Poison {
		s.bad(m, "fold", poison.Bad)
	}
	for _, e := range changes.Entries {
		s.set(m, readmodel.KindEntry, e.Key, e.Deleted, e.EncodeKV)
	}
	for _, d := range changes.Docs {
		s.set(m, d.Kind, d.Key, d.Deleted, d.EncodeKV)
	}
}

func (s *State) bad(m *history.Message, verb string, err error) {
	s.Bad = append(s.Bad, fmt.Sprintf("cannot %s revision %d of partition %d (%s): %v", verb, m.Revision, m.Partition, m.Name, err))
}

// set stores a row in the form of its bucket, or removes it.
func (s *State) set(m *history.Message, kind, key string, deleted bool, encode func() []byte) {
	if deleted {
		delete(s.rows, m.Name)
		return
	}
	b := append(events.AppendString([]byte{'{'}, "kind", kind), ',')
	b = events.AppendString(b, "id", m.ID)
	if key != "" {
		b = events.AppendString(append(b, ','), "key", key)
	}
	b = append(append(b, `,"row":`...), encode()...)
	if s.rows == nil {
		s.rows = map[events.AggregateName][]byte{}
	}
	s.rows[m.Name] = append(b, '}')
}
