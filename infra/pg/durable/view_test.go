package durable_test

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/projectionstest"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

func TestTarget(t *testing.T) {
	db := pgtest.Migrated(t)
	projectionstest.Target(t, func(t *testing.T) projectionstest.Store {
		if _, err := db.Pool().Exec(t.Context(), "TRUNCATE agents.state, agents.checkpoints"); err != nil {
			t.Fatal(err)
		}
		reader := durable.New(db, "durable")
		return projectionstest.Store{
			ID: "journal", Partitions: 3, Fenced: true, Exact: true,
			Open: func(*testing.T, *projections.Progress) projections.Target { return durable.New(db, "durable") },
			Get: func(t *testing.T, agent, key string) (readmodel.Entry, bool) {
				e, found, _, err := reader.Entry(t.Context(), 0, agent, key)
				if err != nil {
					t.Fatal(err)
				}
				return e, found
			},
			Keep: func(e readmodel.Entry) readmodel.Entry { return e },
		}
	})
}

func row(key string, revision uint64) readmodel.EntryChange {
	return readmodel.EntryChange{Entry: readmodel.Entry{
		Agent: "a", Key: key, Value: fmt.Append(nil, revision), Timestamp: pgtest.When, Version: 1, Revision: revision, UpdatedAt: pgtest.When, Digest: "d",
	}}
}

// An Apply from another position writes neither rows nor the checkpoint.
func TestAFencedApplyWritesNothing(t *testing.T) {
	db := pgtest.Migrated(t)
	v := durable.New(db, "durable")
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	for _, from := range []uint64{1, 7, 1 << 40} {
		c := projections.Changes{Entries: []readmodel.EntryChange{row("k", 5)}, Losses: []readmodel.Loss{loss(5)}}
		if err := v.Apply(t.Context(), 0, from, from+5, c); !errors.Is(err, projections.ErrFenced) {
			t.Errorf("from %d: %v", from, err)
		}
	}
	if err := v.Apply(t.Context(), 9, 0, 5, projections.Changes{}); !errors.Is(err, projections.ErrFenced) {
		t.Errorf("a partition that was never loaded: %v", err)
	}
	for table, want := range map[string]int{"state": 0, "conflicts": 0} {
		if n := pgtest.Count(t, db, "SELECT count(*) FROM agents."+table); n != want {
			t.Errorf("%s has %d rows", table, n)
		}
	}
	if at, err := v.Load(t.Context(), 0, "j"); at != 0 || err != nil {
		t.Errorf("at %d, %v", at, err)
	}
}

func TestAFailedApplyWritesNothing(t *testing.T) {
	db := pgtest.Migrated(t)
	v := durable.New(db, "durable")
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	bad := row("z", 2)
	bad.Value = []byte(`"\u0000"`) // jsonb rejects it
	err := v.Apply(t.Context(), 0, 0, 2, projections.Changes{Entries: []readmodel.EntryChange{row("k", 1), bad}})
	if err == nil || errors.Is(err, projections.ErrFenced) {
		t.Errorf("%v", err)
	}
	if n := pgtest.Count(t, db, "SELECT count(*) FROM agents.state"); n != 0 {
		t.Errorf("%d rows", n)
	}
	if at, err := v.Load(t.Context(), 0, "j"); at != 0 || err != nil {
		t.Errorf("at %d, %v", at, err)
	}
}

func TestConcurrentAppliesFromOnePosition(t *testing.T) {
	db := pgtest.Migrated(t)
	for round := range uint64(10) {
		var wg sync.WaitGroup
		results := make(chan error, 4)
		for range 4 {
			wg.Go(func() {
				v := durable.New(db, "durable")
				if _, err := v.Load(t.Context(), 0, "j"); err != nil {
					t.Error(err)
				}
				results <- v.Apply(t.Context(), 0, round, round+1, projections.Changes{Entries: []readmodel.EntryChange{row("k", round+1)}})
			})
		}
		wg.Wait()
		close(results)
		won := 0
		for err := range results {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, projections.ErrFenced):
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d of 4 moved the view from %d", won, round)
		}
	}
}

func loss(revision uint64) readmodel.Loss {
	return readmodel.Loss{
		Agent: "a", Key: "k", Version: revision, Revision: revision, Kind: "rejected", Verb: "set", Strategy: "reject",
		Reason: "state.conflict", Value: []byte(`{ "n": 1.50 }`), Timestamp: pgtest.When, RecordedAt: pgtest.When, Writer: "w", CommandID: "c",
		CurrentVersion: 1, CurrentRevision: 2, Digest: "d",
	}
}

func TestConflictsAreStoredOnce(t *testing.T) {
	db := pgtest.Migrated(t)
	v := durable.New(db, "durable")
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	deletion := loss(4)
	deletion.Verb, deletion.Value, deletion.Reason, deletion.Kind = "delete", nil, "", "superseded"
	for _, from := range []uint64{0, 5} { // the same conflicts twice
		if err := v.Apply(t.Context(), 0, from, from+5, projections.Changes{Losses: []readmodel.Loss{loss(3), deletion}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := pgtest.Count(t, db, "SELECT count(*) FROM agents.conflicts"); n != 2 {
		t.Errorf("%d rows", n)
	}
	var text, reason *string
	var kind string
	err := db.Pool().QueryRow(t.Context(), "SELECT state_text, reason, kind FROM agents.conflicts WHERE version = 3").Scan(&text, &reason, &kind)
	if err != nil || text == nil || *text != `{ "n": 1.50 }` || reason == nil || *reason != "state.conflict" || kind != "rejected" {
		t.Errorf("%v %v %s, %v", text, reason, kind, err)
	}
	err = db.Pool().QueryRow(t.Context(), "SELECT state_text, reason, kind FROM agents.conflicts WHERE version = 4").Scan(&text, &reason, &kind)
	if err != nil || text != nil || reason != nil || kind != "superseded" {
		t.Errorf("%v %v %s, %v", text, reason, kind, err)
	}
}

// state_value is for SQL queries; state_text is the value as sent.
func TestValuesAreStoredAsTextAndJSON(t *testing.T) {
	db := pgtest.Migrated(t)
	v := durable.New(db, "durable")
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	c := row("k", 1)
	c.Value = []byte(`{ "n": 1.50, "big": 12345678901234567890, "s": "\u0041" }`)
	if err := v.Apply(t.Context(), 0, 0, 1, projections.Changes{Entries: []readmodel.EntryChange{c}}); err != nil {
		t.Fatal(err)
	}
	var text, n, big, s string
	err := db.Pool().QueryRow(t.Context(), `
		SELECT state_text, state_value->>'n', state_value->>'big', state_value->>'s' FROM agents.state`).Scan(&text, &n, &big, &s)
	if got := []string{text, n, big, s}; err != nil || !reflect.DeepEqual(got, []string{string(c.Value), "1.50", "12345678901234567890", "A"}) {
		t.Errorf("%q, %v", got, err)
	}
}
