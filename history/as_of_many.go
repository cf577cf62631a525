package history

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/events"
)

const (
	// manyAtOnce is how many aggregates are looked up one by one at a time.
	manyAtOnce = 16
	// manyAlone is from how many on the archive is asked for all of them first.
	manyAlone = 64
	// manyScan is how many events are read for each aggregate that is open, rather
	// than to look it up alone.
	manyScan = 100
)

// ManyAsOf returns the last events of aggregates of one agent as of a moment, in
// the order of names; aggregates that did not exist then are left out. pattern
// matches all of names.
func (h *History) ManyAsOf(ctx context.Context, pattern events.AggregateName, names []events.AggregateName, m Moment) ([]events.Record, error) {
	if len(names) == 0 {
		return nil, nil
	}
	s := &asOfSearch{History: h, pattern: pattern, names: names, moment: m, found: make([]events.Record, len(names))}
	for i := range names {
		s.open = append(s.open, i)
	}
	if err := s.together(ctx); err != nil {
		return nil, err
	}
	if err := s.alone(ctx); err != nil {
		return nil, err
	}
	recs := s.found[:0]
	for i := range s.found {
		if s.found[i].Revision > 0 {
			recs = append(recs, s.found[i])
		}
	}
	return recs, nil
}

// EntriesOf returns the last events of an agent's entries, deletions included, by
// key, as of a revision or, with revision 0, of a time.
func (h *History) EntriesOf(ctx context.Context, agent string, revision uint64, at time.Time) ([]events.Record, error) {
	pattern := events.AgentStates(agent)
	names, err := h.Names(ctx, pattern)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return h.ManyAsOf(ctx, pattern, names, Moment{revision, at})
}

// LastAt returns the last entry of each name up to a revision, in the order of
// names; an empty Message stands for none. All names are of one partition. A fast
// answer comes from the journal alone; a linearizable one is as complete as AsOf.
func (h *History) LastAt(ctx context.Context, names []events.AggregateName, revision uint64, f Freshness) ([]Message, error) {
	last := make([]Message, len(names))
	if len(names) == 0 || revision == 0 {
		return last, nil
	}
	if f == Fast {
		return h.Ends(ctx, names, Bound{Revision: revision}, Fast)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(manyAtOnce)
	for i, name := range names {
		g.Go(func() (err error) {
			last[i].Record, _, err = h.AsOf(ctx, name, Moment{Revision: revision})
			return err
		})
	}
	return last, g.Wait()
}

// asOfSearch looks up many aggregates as of a moment.
type asOfSearch struct {
	*History
	pattern events.AggregateName
	names   []events.AggregateName
	moment  Moment
	found   []events.Record // by the place of the name
	open    []int           // places of names that are not settled
}

// together asks for all names with few requests.
func (s *asOfSearch) together(ctx context.Context) error {
	head, err := s.Head(ctx, s.Partition(s.pattern.ID()))
	if err != nil {
		return err
	}
	got, err := s.ends(ctx, Bound{Revision: min(s.moment.Revision, head)})
	if err != nil {
		return err
	}
	s.settle(func(name events.AggregateName) (events.Record, bool) {
		rec, ok := got[name]
		return rec, ok && s.moment.Includes(&rec)
	})
	if s.moment.Revision == 0 && len(s.open) > 1 {
		return s.scan(ctx)
	}
	return nil
}

// ends reads the last events of the open names within a bound.
func (s *asOfSearch) ends(ctx context.Context, b Bound) (map[events.AggregateName]events.Record, error) {
	names := make([]events.AggregateName, len(s.open))
	for i, n := range s.open {
		names[i] = s.names[n]
	}
	msgs, err := s.Ends(ctx, names, b, Fast)
	if err != nil {
		return nil, err
	}
	got := make(map[events.AggregateName]events.Record, len(msgs))
	for i := range msgs {
		rec, ok, err := msgs[i].event()
		if err != nil {
			return nil, err
		}
		if ok {
			got[rec.Name] = rec
		}
	}
	return got, nil
}

// settle stores what is known of open names and keeps the others open.
func (s *asOfSearch) settle(known func(events.AggregateName) (events.Record, bool)) {
	left := make([]int, 0, len(s.open))
	for _, i := range s.open {
		if rec, ok := known(s.names[i]); ok {
			s.found[i] = rec
		} else {
			left = append(left, i)
		}
	}
	s.open = left
}

// scan looks for the last events as of a time by reading on from there, all
// aggregates together. What was stored until then is a candidate; an aggregate is
// settled once an event shows that all later ones were recorded later. Those stay
// open that were trimmed, or that too many events lie behind.
func (s *asOfSearch) scan(ctx context.Context) error {
	after := s.moment.At.Add(time.Nanosecond)
	best, err := s.ends(ctx, Bound{Before: after})
	if err != nil {
		return err
	}
	waiting := make(map[events.AggregateName]uint64, len(s.open)) // the version seen last
	for _, i := range s.open {
		if rec, ok := best[s.names[i]]; !ok || s.moment.Includes(&rec) {
			waiting[s.names[i]] = rec.Version
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	settled := make(map[events.AggregateName]bool, len(waiting))
	budget := manyScan * len(waiting)
	enough := s.moment.At.Add(s.skew)
	r := Range{Partition: s.Partition(s.pattern.ID()), Aggregate: s.pattern, Since: after}
	err = s.Range(ctx, r, func(m Message) error {
		if m.Bad != nil {
			return m.Bad
		}
		budget--
		if seen, ok := waiting[m.Name]; ok {
			switch waiting[m.Name] = m.Version; {
			case m.Version != seen+1: // trimmed, perhaps meanwhile
				delete(waiting, m.Name)
			case m.RecordedAt.After(enough):
				delete(waiting, m.Name)
				settled[m.Name] = true
			case s.moment.Includes(&m.Record):
				best[m.Name] = m.Record
			}
		}
		if budget <= 0 || len(waiting) == 0 {
			return errStop
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	s.settle(func(name events.AggregateName) (events.Record, bool) {
		version, unsettled := waiting[name]
		if unsettled && budget > 0 && version > 0 {
			settled[name] = true // the end of the journal was reached
		}
		return best[name], settled[name]
	})
	return nil
}

// alone looks up what is still open, each name by itself. What a complete journal
// was asked for together and does not have up to a revision did not exist.
func (s *asOfSearch) alone(ctx context.Context) error {
	if len(s.open) == 0 {
		return nil
	}
	p := s.Partition(s.pattern.ID())
	cut, _, err := s.Trimmed(ctx, p) // asked afterwards: the mark comes before what it allows
	if err != nil || cut == 0 && s.moment.Revision > 0 {
		return err
	}
	search := s.History
	if cut > 0 && s.archive != nil && len(s.open) > manyAlone {
		if search, err = s.preload(ctx, p, cut); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(manyAtOnce)
	for _, i := range s.open {
		g.Go(func() error {
			rec, ok, err := search.AsOf(ctx, s.names[i], s.moment)
			if err == nil && ok {
				s.found[i] = rec
			}
			return err
		})
	}
	return g.Wait()
}

// preload returns a history whose archive was asked for all names at once.
func (s *asOfSearch) preload(ctx context.Context, partition int, cut uint64) (*History, error) {
	reaches, err := s.archive.Reaches(ctx, partition, s.ID())
	if err != nil {
		return nil, unreadable("archive.unavailable", partition, cut, err)
	}
	recs, err := s.archive.LastsOf(ctx, partition, strings.TrimSuffix(string(s.pattern), ">"), s.moment.Revision, s.moment.At)
	if err != nil {
		return nil, unreadable("archive.unavailable", partition, cut, err)
	}
	known := preloaded{ArchiveStore: s.archive, reaches: reaches, lasts: make(map[events.AggregateName]events.Record, len(recs))}
	for _, rec := range recs {
		known.lasts[rec.Name] = rec
	}
	return New(s.JournalStore, known, s.skew), nil
}

// preloaded is an archive that was asked for many aggregates at once, for one
// moment.
type preloaded struct {
	ArchiveStore
	reaches uint64
	lasts   map[events.AggregateName]events.Record
}

func (a preloaded) Reaches(context.Context, int, string) (uint64, error) { return a.reaches, nil }

func (a preloaded) LastOf(_ context.Context, _ int, name events.AggregateName, _ uint64, _ time.Time) (events.Record, bool, error) {
	rec, ok := a.lasts[name]
	return rec, ok, nil
}
