package durable_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// TestMarksCoverWhatWasSeen: while several engines store messages, no message appears later with
// a mark below one that was seen.
func TestMarksCoverWhatWasSeen(t *testing.T) {
	marksCoverWhatWasSeen(t, pgtest.Migrated(t))
}

// TestMarksBesideALockOfAStranger: who may connect to the database can neither stop the engines
// nor bring their messages out of order.
func TestMarksBesideALockOfAStranger(t *testing.T) {
	db := pgtest.Migrated(t)
	pgtest.HoldLock(t, db, 0x7469_6465_696e_626f)
	marksCoverWhatWasSeen(t, db)
}

func marksCoverWhatWasSeen(t *testing.T, db *pg.DB) {
	v := durable.New(db, "durable")
	const engines, batches = 4, 15
	var storing sync.WaitGroup
	for e := range engines {
		storing.Go(func() {
			store := durable.NewMessages(db, "messages", nil)
			if _, err := store.Load(t.Context(), e, "j"); err != nil {
				t.Error(err)
			}
			for b := range batches {
				var c projections.Changes
				for i := range b%3 + 1 {
					c.Events = append(c.Events, &events.Record{Partition: e, Revision: uint64(b*3 + i + 1), Event: events.Event{
						Type: events.MessageSent, ID: "s", CommandID: fmt.Sprint(e, "-", b, "-", i), Timestamp: time.Unix(int64(1000-b), 0), Digest: fmt.Sprint(e, b, i),
						Data: (&events.MessageSend{Kind: []string{readmodel.MessageDirect, readmodel.MessageBroadcast}[i%2], To: []string{"me", ""}[i%2], Body: []byte(`1`)}).Encode(),
					}})
				}
				at := uint64(b * 3)
				for range 2 { // it is folded again
					if err := store.Apply(t.Context(), e, at, uint64(b*3+3), c); err != nil {
						t.Error(err)
					}
					at = uint64(b*3 + 3)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { storing.Wait(); close(done) }()
	seen := map[string]int64{}
	highest := int64(0)
	for last := false; !last; {
		select {
		case <-done:
			last = true
		default:
		}
		box, err := v.Inbox(t.Context(), readmodel.InboxList{Agent: "me", Direct: true, Broadcasts: true, Limit: 1000})
		harness.Must(t, err)
		before := highest
		for _, m := range box.Messages {
			if mark, known := seen[m.ID]; known && mark != m.Mark || !known && m.Mark <= before {
				t.Fatalf("%s has the mark %d after %d, it had %d", m.ID, m.Mark, before, mark)
			}
			seen[m.ID], highest = m.Mark, max(highest, m.Mark)
		}
	}
	if len(seen) != engines*batches*2 {
		t.Errorf("%d messages", len(seen))
	}

	_, err := v.Load(t.Context(), 0, "j")
	harness.Must(t, err)
	state := fmt.Sprintf(`{"read_up_to":%d,"marks":[%d]}`, highest-1, highest)
	harness.Must(t, v.Apply(t.Context(), 0, 0, 1, projections.Changes{Docs: []readmodel.DocChange{{Doc: readmodel.Doc{
		Kind: readmodel.KindInbox, ID: "me", State: []byte(state), Version: 1, Revision: 1, UpdatedAt: time.Now(),
	}}}}))
	for _, agent := range []string{"me", "other"} {
		for _, unread := range []bool{false, true} {
			box, err := v.Inbox(t.Context(), readmodel.InboxList{Agent: agent, Direct: true, Broadcasts: true, Unread: unread, Limit: 1000})
			harness.Must(t, err)
			want, left := len(seen), 0
			if agent == "other" {
				want, left = engines*batches/3*2, engines*batches/3*2 // the broadcasts
			} else if unread {
				want = 0
			}
			if len(box.Messages) != want || box.Unread != left || agent == "me" && box.ReadUpTo != highest-1 {
				t.Errorf("%s, unread %t: %d messages, %d unread, up to %d", agent, unread, len(box.Messages), box.Unread, box.ReadUpTo)
			}
			for _, m := range box.Messages {
				if m.Read != (agent == "me") {
					t.Errorf("%s: %+v", agent, m)
				}
			}
		}
	}
}
