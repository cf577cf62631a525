package tiers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// Hydrator moves all entries of an agent between the tiers, as the contract's hydrate, flush and
// expire require. It never overwrites a newer row, and a flush is one transaction.
type Hydrator struct {
	Journal         JournalTier
	Hot             HydrationBucket
	Durable         HydrationTable // nil = without SQL; the journal is the durable tier
	DurableProgress Positions

	flights singleflight.Group
}

// HydrationBucket is the bucket of state entries.
type HydrationBucket interface {
	Fill(ctx context.Context, e *readmodel.Entry) error
	// Has returns those of an agent's keys that have a value.
	Has(ctx context.Context, agent string, keys []string) (map[string]bool, error)
	// Evict removes all of an agent's keys.
	Evict(ctx context.Context, agent string) error
	// Keep puts the values of an agent's keys again that lapse soon, and returns the
	// keys that have no value.
	Keep(ctx context.Context, agent string, keys []string) (missing map[string]bool, err error)
}

// HydrationTable is the SQL table of state entries.
type HydrationTable interface {
	Entries(ctx context.Context, partition int, agent, prefix, after string, limit int) ([]readmodel.Entry, uint64, error)
	// Flush writes entries in one transaction and never over a newer row.
	Flush(ctx context.Context, entries []readmodel.EntryChange) error
}

const (
	// hydrationPage is the number of rows that a hydration reads at a time, and hydrationTime
	// how long a page may take.
	hydrationPage = 500
	hydrationTime = time.Minute
	// fillsAtOnce is the number of rows of a page that are put at the same time: each asks the
	// journal and the bucket once.
	fillsAtOnce = 64
)

// fillEach calls fill for 0 to n-1, several at a time.
func fillEach(ctx context.Context, n int, fill func(ctx context.Context, i int) error) error {
	g, filling := errgroup.WithContext(ctx)
	g.SetLimit(fillsAtOnce)
	for i := range n {
		g.Go(func() error {
			if err := filling.Err(); err != nil {
				return err
			}
			return fill(filling, i)
		})
	}
	return g.Wait()
}

// Hydrate loads an agent's rows from SQL into KV where KV has no value, each checked against the
// journal's last event, and returns the keys of these rows. Concurrent calls share one hydration.
func (k *Hydrator) Hydrate(ctx context.Context, agent string) ([]string, error) {
	keys, err, _ := k.flights.Do(agent, func() (any, error) {
		return k.hydrate(context.WithoutCancel(ctx), agent)
	})
	if err != nil {
		return nil, err
	}
	return keys.([]string), nil
}

func (k *Hydrator) hydrate(ctx context.Context, agent string) ([]string, error) {
	if k.Durable == nil {
		return k.hydrateFromJournal(ctx, agent)
	}
	keys, after := []string{}, ""
	for more := true; more; {
		var page []string
		var err error
		page, more, err = k.hydratePage(ctx, agent, after)
		if IsBehind(err) {
			return k.hydrateFromJournal(ctx, agent)
		}
		if err != nil {
			return nil, err
		}
		if keys = append(keys, page...); more {
			after = page[len(page)-1]
		}
	}
	return keys, nil
}

// hydratePage loads the rows whose keys follow after, and returns their keys.
func (k *Hydrator) hydratePage(ctx context.Context, agent, after string) (page []string, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, hydrationTime)
	defer cancel()
	rows, _, err := k.Durable.Entries(ctx, k.Journal.Partition(agent), agent, "", after, hydrationPage)
	if err != nil {
		return nil, false, err
	}
	page = make([]string, len(rows))
	room := readmodel.PageRoom{}
	more = len(rows) == hydrationPage
	for i := range rows {
		more = room.Add(len(rows[i].Value)) || more
		page[i] = rows[i].Key
	}
	return page, more, k.fillPage(ctx, agent, page, rows)
}

// fillPage puts rows of SQL into KV where it has no value. Usually the view has put all of them;
// one call of Has finds that out.
func (k *Hydrator) fillPage(ctx context.Context, agent string, keys []string, rows []readmodel.Entry) error {
	there, err := k.Hot.Has(ctx, agent, keys)
	if err != nil {
		return err
	}
	return fillEach(ctx, len(rows), func(ctx context.Context, i int) error {
		row := &rows[i]
		if there[row.Key] {
			return nil
		}
		last, found, revision, err := k.Journal.Last(ctx, agent, row.Key)
		switch {
		case err != nil:
			return err
		case !found:
			return nil // deleted meanwhile
		case revision != row.Revision:
			row = &last
		}
		return k.Hot.Fill(ctx, row)
	})
}

func (k *Hydrator) hydrateFromJournal(ctx context.Context, agent string) ([]string, error) {
	ends, err := k.ends(ctx, agent)
	if err != nil {
		return nil, err
	}
	keys := []string{}
	for page := range slices.Chunk(ends, hydrationPage) {
		there, err := k.Hot.Has(ctx, agent, present(page))
		if err == nil {
			err = k.fillChanges(ctx, page, func(key string) bool { return !there[key] })
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, present(page)...)
	}
	return keys, nil
}

// fillChanges puts the values of a page that are wanted.
func (k *Hydrator) fillChanges(ctx context.Context, page []readmodel.EntryChange, wanted func(key string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, hydrationTime)
	defer cancel()
	return fillEach(ctx, len(page), func(ctx context.Context, i int) error {
		if page[i].Deleted || !wanted(page[i].Key) {
			return nil
		}
		return k.Hot.Fill(ctx, &page[i].Entry)
	})
}

// ends returns the entries of an agent as the journal has them.
func (k *Hydrator) ends(ctx context.Context, agent string) ([]readmodel.EntryChange, error) {
	ctx, cancel := context.WithTimeout(ctx, hydrationTime)
	defer cancel()
	return k.Journal.After(ctx, agent, 0)
}

// present returns the keys that are not deleted.
func present(ends []readmodel.EntryChange) []string {
	keys := make([]string, 0, len(ends))
	for i := range ends {
		if !ends[i].Deleted {
			keys = append(keys, ends[i].Key)
		}
	}
	return keys
}

// Flush writes all of an agent's entries that the durable view has not reached to SQL in one
// transaction. It returns their keys and the revision up to which SQL then has the agent.
func (k *Hydrator) Flush(ctx context.Context, agent string) (keys []string, revision uint64, err error) {
	if k.Durable == nil {
		return []string{}, 0, fmt.Errorf("this engine runs without SQL")
	}
	position := k.DurableProgress.At(k.Journal.Partition(agent))
	dirty, err := k.Journal.After(ctx, agent, position)
	if err != nil {
		return nil, 0, err
	}
	keys, revision = make([]string, 0, len(dirty)), position
	for i := range dirty {
		keys = append(keys, dirty[i].Key)
		revision = max(revision, dirty[i].Revision)
	}
	if len(dirty) == 0 {
		return keys, revision, nil
	}
	return keys, revision, k.Durable.Flush(ctx, dirty)
}

// Keep makes KV hold every entry of an active agent: rows that the bucket has lost are put from the
// journal, and rows that would lapse before the next call are put again.
func (k *Hydrator) Keep(ctx context.Context, agent string) error {
	ends, err := k.ends(ctx, agent)
	if err != nil {
		return err
	}
	missing, err := k.Hot.Keep(ctx, agent, present(ends))
	if err != nil || len(missing) == 0 {
		return err
	}
	for page := range slices.Chunk(ends, hydrationPage) {
		if err := k.fillChanges(ctx, page, func(key string) bool { return missing[key] }); err != nil {
			return err
		}
	}
	return nil
}

// Evict flushes an agent and removes its keys from KV. A key that is not in SQL is never removed;
// without SQL the journal has it.
func (k *Hydrator) Evict(ctx context.Context, agent string) ([]string, error) {
	if k.Durable != nil {
		if _, _, err := k.Flush(ctx, agent); err != nil {
			return nil, fmt.Errorf("flush before eviction: %w", err)
		}
	}
	ends, err := k.Journal.After(ctx, agent, 0)
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(ends))
	for i := range ends {
		keys = append(keys, ends[i].Key)
	}
	return keys, k.Hot.Evict(ctx, agent)
}
