package query

import (
	"cmp"
	"context"
	"fmt"
	"sort"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// Rows folds the history into rows: the current ones, read at the journal's leader, and those at a
// revision or a time.
type Rows struct{ *history.History }

var _ tiers.JournalTier = Rows{}

// Last implements tiers.JournalTier.
func (r Rows) Last(ctx context.Context, agent, key string) (e readmodel.Entry, found bool, revision uint64, err error) {
	rec, ok, err := r.History.Last(ctx, events.StateEntry(agent, key), history.Linearizable)
	if err != nil || !ok {
		return e, false, 0, err
	}
	change, err := readmodel.EntryOf(&rec)
	return change.Entry, err == nil && !change.Deleted, rec.Revision, err
}

// After implements tiers.JournalTier.
func (r Rows) After(ctx context.Context, agent string, after uint64) ([]readmodel.EntryChange, error) {
	pattern := events.AgentStates(agent)
	names, err := r.Names(ctx, pattern)
	if err != nil {
		return nil, err
	}
	head, err := r.Head(ctx, r.Partition(agent))
	if err != nil {
		return nil, err
	}
	ends, err := r.Ends(ctx, names, history.Bound{Revision: head}, history.Fast)
	if err != nil {
		return nil, err
	}
	var changes []readmodel.EntryChange
	for i := range ends {
		switch m := &ends[i]; {
		case m.Bad != nil:
			return nil, fmt.Errorf("read the entries of %s: %w", agent, m.Bad)
		case m.Revision > after:
			change, err := readmodel.EntryOf(&m.Record)
			if err != nil {
				return nil, fmt.Errorf("read the entries of %s: %w", agent, err)
			}
			changes = append(changes, change)
		}
	}
	return changes, nil
}

// AsOf returns an entry as of a moment: after the last event in the journal that was recorded at
// or before it.
func (r Rows) AsOf(ctx context.Context, agent, key string, m history.Moment) (e readmodel.Entry, found bool, err error) {
	rec, ok, err := r.History.AsOf(ctx, events.StateEntry(agent, key), m)
	if err != nil || !ok {
		return e, false, err
	}
	change, err := readmodel.EntryOf(&rec)
	return change.Entry, err == nil && !change.Deleted, err
}

// EntriesAsOf returns the entries of keys that existed at a moment, by key.
func (r Rows) EntriesAsOf(ctx context.Context, agent string, keys []string, m history.Moment) ([]readmodel.Entry, error) {
	names := make([]events.AggregateName, len(keys))
	for i, key := range keys {
		names[i] = events.StateEntry(agent, key)
	}
	recs, err := r.ManyAsOf(ctx, events.AgentStates(agent), names, m)
	if err != nil {
		return nil, err
	}
	rows := make([]readmodel.Entry, 0, len(recs))
	for i := range recs {
		change, err := readmodel.EntryOf(&recs[i])
		if err != nil {
			return nil, err
		}
		if !change.Deleted {
			rows = append(rows, change.Entry)
		}
	}
	return rows, nil
}

// Keys returns an agent's keys with a prefix after one, sorted, including those of deleted
// entries.
func (r Rows) Keys(ctx context.Context, agent, prefix, after string, limit int) ([]string, error) {
	return r.History.Keys(ctx, events.AgentStates(agent), prefix, after, limit)
}

// Changed counts the agent's entries with an event after a revision.
func (r Rows) Changed(ctx context.Context, agent string, after uint64) (int, error) {
	return r.History.Changed(ctx, events.AgentStates(agent), after)
}

// Versions returns an entry's versions below a revision (0 = from the end), newest first, at most
// limit and not beyond a page; with losers it includes losing writes.
func (r Rows) Versions(ctx context.Context, agent, key string, below uint64, limit int, losers bool) ([]readmodel.Version, error) {
	names := []events.AggregateName{events.StateEntry(agent, key)}
	if losers {
		names = append(names, events.EntryConflicts(agent, key))
	}
	var rows []readmodel.Version
	for _, name := range names {
		var room readmodel.PageRoom
		var failed error
		_, err := r.Back(ctx, name, below, limit, func(rec *events.Record) bool {
			row, err := readmodel.VersionOf(rec)
			failed = err
			rows = append(rows, row)
			return err != nil || room.Add(len(row.Value))
		})
		if err = cmp.Or(err, failed); err != nil {
			return nil, err
		}
	}
	// Where one of both ended with its page, the page of both ends before that row.
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Revision > rows[j].Revision })
	return rows[:min(limit, len(rows))], nil
}

// LastDoc reads a document at the journal's leader; found is false when it does not exist,
// revision is then that of its deletion.
func (r Rows) LastDoc(ctx context.Context, kind, id, key string) (d readmodel.Doc, found bool, revision uint64, err error) {
	rec, ok, err := r.History.Last(ctx, readmodel.NameOf(kind, id, key), history.Linearizable)
	if err != nil || !ok {
		return d, false, 0, err
	}
	c, err := docOf(&rec)
	return c.Doc, err == nil && !c.Deleted, rec.Revision, err
}

// DocAsOf returns a document as of a moment.
func (r Rows) DocAsOf(ctx context.Context, kind, id, key string, m history.Moment) (d readmodel.Doc, found bool, err error) {
	rec, ok, err := r.History.AsOf(ctx, readmodel.NameOf(kind, id, key), m)
	if err != nil || !ok {
		return d, false, err
	}
	c, err := docOf(&rec)
	return c.Doc, err == nil && !c.Deleted, err
}

// ConfigAsOf returns the configuration entries of keys that existed at a moment.
func (r Rows) ConfigAsOf(ctx context.Context, agent string, keys []string, m history.Moment) ([]readmodel.Doc, error) {
	names := make([]events.AggregateName, len(keys))
	for i, key := range keys {
		names[i] = events.Config(agent, key)
	}
	recs, err := r.ManyAsOf(ctx, events.Config(agent, ">"), names, m)
	if err != nil {
		return nil, err
	}
	rows := make([]readmodel.Doc, 0, len(recs))
	for i := range recs {
		c, err := docOf(&recs[i])
		if err != nil {
			return nil, err
		}
		if !c.Deleted {
			rows = append(rows, c.Doc)
		}
	}
	return rows, nil
}

// ConfigKeys returns an agent's configuration keys; see Keys.
func (r Rows) ConfigKeys(ctx context.Context, agent, prefix, after string, limit int) ([]string, error) {
	return r.History.Keys(ctx, events.Config(agent, ">"), prefix, after, limit)
}

// DocVersions returns a document's versions below a revision (0 = from the end),
// newest first, at most limit and not beyond a page.
func (r Rows) DocVersions(ctx context.Context, kind, id, key string, below uint64, limit int) (rows []readmodel.DocVersion, err error) {
	var room readmodel.PageRoom
	var failed error
	_, err = r.Back(ctx, readmodel.NameOf(kind, id, key), below, limit, func(rec *events.Record) bool {
		c, err := docOf(rec)
		failed = err
		rows = append(rows, readmodel.DocVersion{
			Doc: c.Doc, Type: rec.Stored().Type, Writer: rec.Writer, Actor: rec.Actor, CommandID: rec.CommandID, Deleted: c.Deleted, Erased: rec.Erased,
		})
		return err != nil || room.Add(len(c.State))
	})
	return rows, cmp.Or(err, failed)
}

// docOf returns the document that an event results in.
func docOf(rec *events.Record) (readmodel.DocChange, error) {
	c, ok, err := readmodel.DocOf(rec)
	if err == nil && !ok {
		err = fmt.Errorf("%s at revision %d belongs to no document", rec.Type, rec.Revision)
	}
	return c, err
}
