package reactors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// TestRetention: entries go after the age of their longest prefix and not before, also
// when SQL or the journal fails in between; one that is written again stays.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		entries := map[string]time.Time{}
		// Each failure ends a round, and the prefixes come in any order: some of the rounds after
		// a day must not fail.
		asked, noSQL, noJournal := 0, 0, 0
		for _, key := range []string{"a.1", "a.2", "a.keep.1", "a.long.1", "b"} {
			entries[key] = began
		}
		for i := range 1200 { // several pages
			entries[fmt.Sprint("a.n", i)] = began
		}
		ids := map[string]bool{}
		r := &reactors.Retention{
			Ages: map[string]time.Duration{"a.": 24 * time.Hour, "a.keep.": 0, "a.long.": 72 * time.Hour},
			Log:  slog.New(slog.DiscardHandler),
			Outdated: func(_ context.Context, prefix string, except []string, before time.Time, limit int) (old []readmodel.WrittenEntry, err error) {
				mu.Lock()
				defer mu.Unlock()
				if asked++; asked%3 == 1 && noSQL < 4 {
					if time.Since(began) >= 24*time.Hour {
						noSQL++
					}
					return nil, errors.New("SQL is away")
				}
				for _, key := range slices.Sorted(maps.Keys(entries)) {
					if strings.HasPrefix(key, prefix) && !slices.ContainsFunc(except, func(p string) bool { return strings.HasPrefix(key, p) }) &&
						entries[key].Before(before) && len(old) < limit {
						old = append(old, readmodel.WrittenEntry{Agent: "x", Key: key, Version: 7, WrittenAt: entries[key]})
					}
				}
				return old, nil
			},
			Send: func(_ context.Context, req commands.Request) (commands.Receipt, error) {
				mu.Lock()
				defer mu.Unlock()
				if !strings.Contains(string(req.Body), `"expected_version":7`) || req.Verb != "delete" || ids[req.CommandID] {
					t.Errorf("%+v %s", req, req.Body)
				}
				if len(ids) == 50+100*noJournal && noJournal < 4 {
					noJournal++
					return commands.Receipt{}, domain.Errorf(domain.Unavailable, "journal.unavailable", "away")
				}
				ids[req.CommandID] = true
				_, key, _ := strings.Cut(string(req.Body), `"key":"`)
				key, _, _ = strings.Cut(key, `"`)
				if key == "a.2" { // written meanwhile
					entries[key] = time.Now()
					return commands.Receipt{}, domain.Errorf(domain.Conflict, "state.conflict", "changed")
				}
				delete(entries, key)
				return commands.Receipt{}, nil
			},
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.Run(ctx)
		left := func() string {
			mu.Lock()
			defer mu.Unlock()
			return strings.Join(slices.Sorted(maps.Keys(entries)), " ")
		}
		time.Sleep(24*time.Hour - time.Minute)
		if mu.Lock(); len(entries) != 1205 {
			t.Errorf("%d entries are left too early", len(entries))
		}
		mu.Unlock()
		time.Sleep(12 * time.Minute)
		if got := left(); got != "a.2 a.keep.1 a.long.1 b" {
			t.Errorf("after a day: %.200s", got)
		}
		if noSQL != 4 || noJournal != 4 {
			t.Errorf("SQL has failed %d times and the journal %d times, 4 each are wanted", noSQL, noJournal)
		}
		time.Sleep(49 * time.Hour)
		if got := left(); got != "a.keep.1 b" && got != "a.2 a.keep.1 b" {
			t.Errorf("after three days: %s", got)
		}
	})
}

// TestRetentionPassesOverABadEntry: an entry that can never be deleted, the oldest of all, holds
// back no other.
func TestRetentionPassesOverABadEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 1200 // several pages
		var mu sync.Mutex
		deleted := map[string]bool{}
		written := time.Now().Add(-time.Hour)
		r := &reactors.Retention{
			Ages: map[string]time.Duration{"": time.Minute}, Log: slog.New(slog.DiscardHandler),
			Outdated: func(_ context.Context, _ string, _ []string, _ time.Time, limit int) (old []readmodel.WrittenEntry, err error) {
				mu.Lock()
				defer mu.Unlock()
				for i := 0; i < many && len(old) < limit; i++ {
					if agent := fmt.Sprint("a", i); !deleted[agent] {
						old = append(old, readmodel.WrittenEntry{Agent: agent, Key: "k", Version: 1, WrittenAt: written})
					}
				}
				return old, nil
			},
			Send: func(_ context.Context, req commands.Request) (commands.Receipt, error) {
				if req.ID == "a0" {
					return commands.Receipt{}, domain.Errorf(domain.Internal, "internal", "its history is damaged")
				}
				mu.Lock()
				defer mu.Unlock()
				deleted[req.ID] = true
				return commands.Receipt{}, nil
			},
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		r.Run(ctx)
		if len(deleted) != many-1 {
			t.Errorf("%d of %d entries were deleted", len(deleted), many-1)
		}
	})
}
