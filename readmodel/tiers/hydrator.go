package tiers

import (
	"context"
	"fmt"
	"time"

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

// hydrationPage is the number of rows that a hydration reads at a time.
const hydrationPage = 500

// Hydrate loads an agent's rows from SQL into KV where KV has no value, each checked against the
// journal's last event, and returns the keys of these rows. Concurrent calls share one hydration.
func (k *Hydrator) Hydrate(ctx context.Context, agent string) ([]string, error) {
	keys, err, _ := k.flights.Do(agent, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return k.hydrate(ctx, agent)
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
	keys := []string{}
	for after := ""; ; {
		rows, _, err := k.Durable.Entries(ctx, k.Journal.Partition(agent), agent, "", after, hydrationPage)
		if IsBehind(err) {
			return k.hydrateFromJournal(ctx, agent)
		}
		if err != nil {
			return nil, err
		}
		page, room, full := make([]string, len(rows)), readmodel.PageRoom{}, len(rows) == hydrationPage
		for i := range rows {
			full = room.Add(len(rows[i].Value)) || full
			page[i], after = rows[i].Key, rows[i].Key
		}
		if err := k.fillPage(ctx, agent, page, rows); err != nil {
			return nil, err
		}
		keys = append(keys, page...)
		if !full {
			return keys, nil
		}
	}
}

// fillPage puts rows of SQL into KV where it has no value. Usually the view has put all of them;
// one call of Has finds that out.
func (k *Hydrator) fillPage(ctx context.Context, agent string, keys []string, rows []readmodel.Entry) error {
	there, err := k.Hot.Has(ctx, agent, keys)
	if err != nil {
		return err
	}
	for i := range rows {
		row := &rows[i]
		if there[row.Key] {
			continue
		}
		last, found, revision, err := k.Journal.Last(ctx, agent, row.Key)
		switch {
		case err != nil:
			return err
		case !found:
			continue // deleted meanwhile
		case revision != row.Revision:
			row = &last
		}
		if err := k.Hot.Fill(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

func (k *Hydrator) hydrateFromJournal(ctx context.Context, agent string) ([]string, error) {
	ends, err := k.Journal.After(ctx, agent, 0)
	if err != nil {
		return nil, err
	}
	keys := []string{}
	for i := range ends {
		if !ends[i].Deleted {
			keys = append(keys, ends[i].Key)
		}
	}
	there, err := k.Hot.Has(ctx, agent, keys)
	if err != nil {
		return nil, err
	}
	for i := range ends {
		if ends[i].Deleted || there[ends[i].Key] {
			continue
		}
		if err := k.Hot.Fill(ctx, &ends[i].Entry); err != nil {
			return nil, err
		}
	}
	return keys, nil
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
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ends, err := k.Journal.After(ctx, agent, 0)
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(ends))
	for i := range ends {
		if !ends[i].Deleted {
			keys = append(keys, ends[i].Key)
		}
	}
	missing, err := k.Hot.Keep(ctx, agent, keys)
	if err != nil || len(missing) == 0 {
		return err
	}
	for i := range ends {
		if e := &ends[i]; !e.Deleted && missing[e.Key] {
			if err := k.Hot.Fill(ctx, &e.Entry); err != nil {
				return err
			}
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
