package durable_test

import (
	"errors"
	"testing"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// The first load starts where an earlier build stopped notifying, and never ahead
// of the durable view; later loads return the saved position.
func TestFirstPositionOfNotifications(t *testing.T) {
	for notified, want := range map[string]uint64{"NULL": 7, "3": 3, "9": 7} {
		db := pgtest.Migrated(t)
		_, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.checkpoints (view, partition, position, incarnation, notified)
			VALUES ('durable', 0, 50, 'j', 40), ('durable', 1, 7, 'j', `+notified+`), ('other', 1, 60, 'j', 60)`)
		if err != nil {
			t.Fatal(err)
		}
		p := durable.NewPosition(db, "durable")
		if at, err := p.Load(t.Context(), 1, "j"); err != nil || at != want {
			t.Errorf("notified %s: starts at %d %v, want %d", notified, at, err, want)
		}
		_, err = db.Pool().Exec(t.Context(), `UPDATE agents.checkpoints SET position = 8 WHERE view = 'durable' AND partition = 1`)
		harness.Must(t, err)
		if err := p.Save(t.Context(), 1, want, 8); err != nil {
			t.Error(err)
		}
		if at, err := p.Load(t.Context(), 1, "j"); err != nil || at != 8 {
			t.Errorf("saved at 8, loaded at %d %v", at, err)
		}
	}
}

func TestPositionOfNotificationsIsFenced(t *testing.T) {
	db := pgtest.Migrated(t)
	p := durable.NewPosition(db, "durable")
	if at, err := p.Load(t.Context(), 0, "j"); err != nil || at != 0 {
		t.Fatalf("an empty database is at %d %v", at, err)
	}
	if err := p.Save(t.Context(), 0, 0, 5); err != nil {
		t.Fatal(err)
	}
	for _, move := range [][2]uint64{{0, 6}, {6, 7}} {
		if err := p.Save(t.Context(), 0, move[0], move[1]); !errors.Is(err, projections.ErrFenced) {
			t.Errorf("from %d: %v", move[0], err)
		}
	}
	if err := p.Save(t.Context(), 0, 5, 5); err != nil { // a retry
		t.Error(err)
	}
	if _, err := p.Load(t.Context(), 0, "k"); !errors.Is(err, history.ErrForeignJournal) {
		t.Errorf("another journal: %v", err)
	}
	if at, err := p.Load(t.Context(), 0, "j"); err != nil || at != 5 {
		t.Errorf("at %d %v", at, err)
	}
}

// A load beside a swap that moves the durable view back and deletes the position of the
// notifications returns the position after the swap.
func TestPositionOfNotificationsBesideASwap(t *testing.T) {
	db := pgtest.Migrated(t)
	p := durable.NewPosition(db, "durable")
	_, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.checkpoints (view, partition, position, incarnation)
		VALUES ('durable', 0, 16, 'j'), ('notifications', 0, 16, 'j')`)
	harness.Must(t, err)
	swap, err := db.Pool().Begin(t.Context())
	harness.Must(t, err)
	defer func() { _ = swap.Rollback(t.Context()) }()
	for _, sql := range []string{`UPDATE agents.checkpoints SET position = 15, notified = 15 WHERE view = 'durable'`, `DELETE FROM agents.checkpoints WHERE view = 'notifications'`} {
		_, err := swap.Exec(t.Context(), sql)
		harness.Must(t, err)
	}
	loaded := make(chan uint64, 1)
	go func() {
		at, err := p.Load(t.Context(), 0, "j")
		if err != nil {
			t.Error(err)
		}
		loaded <- at
	}()
	harness.Eventually(t, "the load waits for the swap", func() bool {
		return pgtest.Count(t, db, `SELECT count(*) FROM pg_locks WHERE NOT granted`) > 0
	})
	harness.Must(t, swap.Commit(t.Context()))
	if at := harness.Receive(t, "the position", loaded); at != 15 {
		t.Errorf("it is %d, the durable view is at 15", at)
	}
}

// A save from before a swap that moves the durable view back may come after it: the next
// load takes the position back.
func TestPositionOfNotificationsAfterALateSave(t *testing.T) {
	db := pgtest.Migrated(t)
	p := durable.NewPosition(db, "durable")
	_, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.checkpoints (view, partition, position, incarnation, notified)
		VALUES ('durable', 0, 12, 'j', 12), ('durable', 1, 12, 'j', 12)`)
	harness.Must(t, err)
	for partition := range 2 {
		if at, err := p.Load(t.Context(), partition, "j"); err != nil || at != 12 {
			t.Fatalf("partition %d is at %d %v", partition, at, err)
		}
	}
	harness.Must(t, p.Save(t.Context(), 0, 12, 16))
	for partition := range 2 {
		if at, err := p.Load(t.Context(), partition, "j"); err != nil || at != 12 {
			t.Errorf("partition %d is at %d %v, the durable view is at 12", partition, at, err)
		}
	}
}
