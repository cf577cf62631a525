package query

import (
	"context"
	"slices"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// agentEntries lists an agent's entries from SQL, or from the journal when SQL does not answer.
func (q *Query) agentEntries(ctx context.Context, agent string, in *request) (*page, error) {
	if err := in.cursorAfter(domain.CheckKey); err != nil {
		return nil, err
	}
	p, shows := q.Rows.Partition(agent), in.permission.keys(agent)
	b, err := in.pastPoint()
	if err != nil {
		return nil, err
	}
	t, err := q.token(in)
	if err != nil {
		return nil, err
	}
	if b != nil {
		return q.agentEntriesAsOf(ctx, agent, in, b)
	}
	if q.Tiers.Durable != nil {
		waiting, cancel := context.WithTimeout(ctx, in.wait())
		defer cancel()
		reading, stop := context.WithTimeout(ctx, max(in.wait(), defaultWait))
		defer stop()
		after := max(t.Positions[p], q.acknowledged(p))
		read := func() (rows []readmodel.Entry, position uint64, err error) {
			rows, err = onlyRows(shows, in.Cursor, in.limit+1, entryName, func(after string) (more []readmodel.Entry, err error) {
				var at uint64
				if more, at, err = q.Tiers.Durable.Entries(reading, p, agent, in.Prefix, after, in.limit+1); after == in.Cursor {
					position = at
				}
				return more, err
			})
			return rows, position, err
		}
		rows, position, err := read()
		if err == nil && position < after {
			switch err = tiers.Reach(waiting, tiers.FromSQL, q.Tiers.DurableProgress, p, after); {
			case err == nil:
				rows, position, err = read()
			case position < t.Positions[p] || waiting.Err() == nil:
				return nil, err
			default: // the journal has what was acknowledged
			}
		}
		if err == nil {
			rows, cursor := paginate(rows, in.limit, entryName)
			return &page{rows: encodeEntries(rows), source: tiers.FromSQL, cursor: cursor, token: tokenAt(q.Rows, p, position)}, nil
		}
	}
	hist := q.Rows
	rows, newest, err := fromJournal(in, func(after string, limit int) ([]string, error) {
		return hist.Keys(ctx, agent, in.Prefix, after, limit)
	}, onlyKeys(shows, oneByOne(func(key string) (readmodel.Entry, bool, uint64, error) { return hist.Last(ctx, agent, key) })), entrySize)
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	rows, cursor := paginate(rows, in.limit, entryName)
	return &page{rows: encodeEntries(rows), source: tiers.FromJournal, cursor: cursor, token: tokenAt(hist, p, newest)}, nil
}

// agentEntriesAsOf lists the entries that an agent had, including keys that are deleted since and
// without later ones.
func (q *Query) agentEntriesAsOf(ctx context.Context, agent string, in *request, b *pastPoint) (*page, error) {
	hist := q.Rows
	rows, newest, err := fromJournal(in, b.keys(func(after string, limit int) ([]string, error) {
		return hist.Keys(ctx, agent, in.Prefix, after, limit)
	}), onlyKeys(in.permission.keys(agent), func(keys []string) (rows []readmodel.Entry, newest uint64, err error) {
		rows, err = hist.EntriesAsOf(ctx, agent, keys, b.moment())
		for i := range rows {
			newest = max(newest, rows[i].Revision)
		}
		return rows, newest, err
	}), entrySize)
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	rows, cursor := paginate(rows, in.limit, entryName)
	return &page{rows: encodeEntries(rows), source: tiers.FromJournal, cursor: cursor, token: tokenAt(hist, hist.Partition(agent), newest)}, nil
}

func entryName(e *readmodel.Entry) (string, int) { return e.Key, len(e.Value) }

func entrySize(e *readmodel.Entry) int { return len(e.Value) }

// configEntries lists an agent's configuration from SQL, or from the journal when SQL does not
// answer or has quarantined some of it.
func (q *Query) configEntries(ctx context.Context, agent string, in *request) (*page, error) {
	if err := in.cursorAfter(domain.CheckKey); err != nil {
		return nil, err
	}
	b, err := in.pastPoint()
	if err != nil {
		return nil, err
	}
	name, shows := func(d *readmodel.Doc) (string, int) { return d.Key, len(d.State) }, in.permission.keys(agent)
	if b == nil && q.Tiers.Durable != nil {
		token, err := q.awaitSQL(ctx, in)
		if err != nil && (in.Token != "" || !tiers.IsBehind(err)) {
			return nil, err
		}
		var rows []readmodel.Doc
		var quarantined []string
		if err == nil {
			quarantined, err = q.Tiers.Durable.QuarantinedStreams(ctx, string(events.Config(agent, "")), 1) // read before the rows
		}
		if err == nil && len(quarantined) == 0 {
			rows, err = onlyRows(shows, in.Cursor, in.limit+1, name, func(after string) ([]readmodel.Doc, error) {
				return q.Tiers.Durable.Docs(ctx, readmodel.DocList{
					Kind: readmodel.KindConfig, ID: agent, Prefix: in.Prefix, After: after, Limit: in.limit + 1,
				})
			})
		}
		if err == nil && len(quarantined) == 0 {
			rows, cursor := paginate(rows, in.limit, name)
			return &page{rows: encodeDocs("entries", rows), source: tiers.FromSQL, cursor: cursor, token: token}, nil
		}
	}
	if _, err := q.token(in); err != nil {
		return nil, err
	}
	hist := q.Rows
	living := oneByOne(func(key string) (readmodel.Doc, bool, uint64, error) {
		return hist.LastDoc(ctx, readmodel.KindConfig, agent, key)
	})
	if b != nil {
		living = func(keys []string) (rows []readmodel.Doc, newest uint64, err error) {
			rows, err = hist.ConfigAsOf(ctx, agent, keys, b.moment())
			for i := range rows {
				newest = max(newest, rows[i].Revision)
			}
			return rows, newest, err
		}
	}
	rows, newest, err := fromJournal(in, b.keys(func(after string, limit int) ([]string, error) {
		return hist.ConfigKeys(ctx, agent, in.Prefix, after, limit)
	}), onlyKeys(shows, living), func(d *readmodel.Doc) int { return len(d.State) })
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	rows, cursor := paginate(rows, in.limit, name)
	token := tokenAt(hist, hist.Partition(agent), newest)
	return &page{rows: encodeDocs("entries", rows), source: tiers.FromJournal, cursor: cursor, token: token}, nil
}

// fromJournal collects a page of existing rows, plus one row if there are more, and the newest
// revision read. keys returns the next names after one; living returns the rows that exist of some
// names.
func fromJournal[R any](in *request, keys func(after string, limit int) ([]string, error),
	living func(keys []string) ([]R, uint64, error), size func(*R) int) (rows []R, newest uint64, err error) {
	after := in.Cursor
	var room readmodel.PageRoom
	for {
		names, err := keys(after, in.limit+1)
		if err != nil || len(names) == 0 {
			return rows, newest, err
		}
		for some := range slices.Chunk(names, readAtOnce) {
			more, revision, err := living(some)
			if err != nil {
				return nil, 0, err
			}
			newest = max(newest, revision)
			for i := range more {
				if rows = append(rows, more[i]); room.Add(size(&more[i])) || len(rows) > in.limit {
					return rows, newest, nil
				}
			}
		}
		if len(names) <= in.limit {
			return rows, newest, nil
		}
		after = names[len(names)-1]
	}
}

// readAtOnce is how many rows are read before their size is known.
const readAtOnce = 64

// oneByOne reads rows one by one.
func oneByOne[R any](last func(key string) (R, bool, uint64, error)) func([]string) ([]R, uint64, error) {
	return func(keys []string) (rows []R, newest uint64, err error) {
		for _, key := range keys {
			row, found, revision, err := last(key)
			if err != nil {
				return nil, 0, err
			}
			if newest = max(newest, revision); found {
				rows = append(rows, row)
			}
		}
		return rows, newest, nil
	}
}
