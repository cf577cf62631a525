package declared_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	folds "github.com/tidemark-engine/tidemark/readmodel/declared"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// TestMessagesEqualARecount folds random batches of messages, among them the same again and
// erasures of senders: the rows equal those of the messages that are left, and an agent whose
// name begins alike keeps its own.
func TestMessagesEqualARecount(t *testing.T) {
	db := pgtest.Migrated(t)
	s := declared.NewStore(db)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	type one struct {
		*declared.Target
		*folds.Fold
	}
	var views []one
	for i, rest := range []string{`,"into":["sql","kv"]`, `,"group":{"by":["kind"],"count":true,"sum":["n"]}`, `,"keys":"m1*"`} {
		d, err := view.Parse(fmt.Sprintf("v-%d", i), []byte(`{"from":"message","agents":"a*","columns":{"kind":{"path":"/kind","type":"text"},"n":{"path":"/body/n","type":"numeric"}}`+rest+`}`))
		harness.Must(t, err)
		fold := folds.New(d)
		views = append(views, one{declared.NewTarget(db, swapped(t, s, built(t, s, d))), fold})
	}
	senders := []string{"a", "a-1", "a0", "b"}
	var left []*events.Record
	for position := uint64(0); position < 200; {
		var batch []history.Message
		for range 1 + random.IntN(9) {
			from := senders[random.IntN(len(senders))]
			rec := events.Record{Name: events.Sent(from), Revision: position + uint64(len(batch)) + 1, Event: events.Event{
				Type: events.MessageSent, Aggregate: "message", ID: from, CommandID: fmt.Sprint("m", random.IntN(30)),
				Data: jsontext.Value(fmt.Sprintf(`{"kind":%q,"body":{"n":%d.5},"request":"r"}`, []string{"direct", "broadcast"}[random.IntN(2)], random.IntN(9)))}}
			switch random.IntN(12) {
			case 0:
				rec.Event, rec.Name = events.Event{Type: events.Erased, Aggregate: "agent", ID: from}, events.Lifecycle(from)
			case 1:
				rec.Event, rec.Name = events.Event{Type: events.Retired, Aggregate: "agent", ID: from}, events.Lifecycle(from)
			}
			batch = append(batch, history.Message{Record: rec})
		}
		for i := range batch {
			rec := &batch[i].Record
			if left = append(left, rec); rec.Type != events.Erased {
				continue
			}
			for _, earlier := range left {
				earlier.Erased = earlier.Erased || earlier.ID == rec.ID
			}
		}
		erased := map[*events.Record]bool{} // the view reads a batch before it knows of the erasure in it
		for i := range batch {
			if rec := &batch[i].Record; rec.Erased {
				erased[rec], rec.Erased = true, false
			}
		}
		to := position + uint64(len(batch))
		for _, v := range views {
			harness.Must(t, v.Apply(t.Context(), 0, position, to, v.Target.Fold(batch)))
		}
		for rec := range erased {
			rec.Erased = true
		}
		position = to
		for _, v := range views {
			recount := folds.NewRecount(v.Fold)
			for _, rec := range left {
				if c, ok, err := v.Message(rec); ok && strings.HasPrefix(rec.ID, "a") {
					recount.Add(c)
				} else if err != nil {
					t.Fatal(err)
				}
			}
			shot, ok, err := s.Snapshot(t.Context(), v.Name)
			if err != nil || !ok || shot.Positions[0] != position {
				t.Fatalf("view %s: %+v, %v, %v", v.Name, shot.Positions, ok, err)
			}
			if wrong := recount.Compare(shot.Rows); len(wrong) > 0 {
				t.Fatalf("view %s, at %d: %+v", v.Name, position, wrong)
			}
		}
	}
}
