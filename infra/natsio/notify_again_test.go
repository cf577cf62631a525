package natsio

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections"
)

// TestToldAgainWithoutWhatIsHeld: what is told from the journal is what the view
// has committed: the events before a held one, none from there on, and those
// after what was given up.
func TestToldAgainWithoutWhatIsHeld(t *testing.T) {
	j := &Journal{incarnation: "j"}
	event := func(key string, revision, version uint64) projections.Message {
		ev := events.Event{Schema: events.Schema, Type: events.StateSet, Aggregate: "agent", ID: "a", Key: key,
			Version: version, Digest: "d", Data: []byte(`{"value":1}`)}
		return projections.Message{Record: events.Record{Event: ev, Revision: revision, Stream: events.StateEntry("a", key)}}
	}
	n := &Notifier{past: Past{Journal: j}, Held: func(context.Context, int) ([]projections.Held, error) {
		return []projections.Held{
			{Journal: "j", Stream: events.StateEntry("a", "waits"), First: 3},
			{Journal: "j", Stream: events.StateEntry("a", "dropped"), First: 5, Last: 6, Dropped: true},
			{Journal: "j", Stream: events.StateEntry("a", "dropped"), First: 8, Last: 8, Dropped: true},
			{Journal: "other", Stream: events.StateEntry("a", "free"), First: 1},
		}, nil
	}}
	held, err := n.held(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range noticesOf([]projections.Message{
		event("waits", 1, 1), event("waits", 3, 2), event("free", 4, 1), event("dropped", 5, 1), event("dropped", 6, 2), event("dropped", 7, 3), event("dropped", 8, 4),
	}, held) {
		got = append(got, fmt.Sprintf("%s@%d", c.Key, c.Revision))
	}
	slices.Sort(got)
	if want := []string{"dropped@7", "free@4", "waits@1"}; !slices.Equal(got, want) {
		t.Errorf("told of %v, wanted %v", got, want)
	}
}
