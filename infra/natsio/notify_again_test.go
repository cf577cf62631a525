package natsio

import (
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
	held := []projections.Held{
		{Journal: "j", Stream: events.StateEntry("a", "waits"), First: 3},
		{Journal: "j", Stream: events.StateEntry("a", "dropped"), First: 5, Last: 6, Dropped: true},
		{Journal: "other", Stream: events.StateEntry("a", "free"), First: 1},
	}
	n := &Notifier{past: Past{Journal: j}, Held: func(int) []projections.Held { return held }}
	var got []string
	for _, c := range n.noticesOf(0, []projections.Message{
		event("waits", 1, 1), event("waits", 3, 2), event("free", 4, 1), event("dropped", 5, 1), event("dropped", 6, 2), event("dropped", 7, 3),
	}) {
		got = append(got, fmt.Sprintf("%s@%d", c.Key, c.Revision))
	}
	slices.Sort(got)
	if want := []string{"dropped@7", "free@4", "waits@1"}; !slices.Equal(got, want) {
		t.Errorf("told of %v, wanted %v", got, want)
	}
}
