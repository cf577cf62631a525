package quarantine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestPage: a page is bounded, whatever is in the bucket, has what waits alone, oldest first,
// and says what operators have asked for.
func TestPage(t *testing.T) {
	q, err := natsquarantine.Open(t.Context(), support.Engine(t, support.NATSFor(t, embedded.Config{Dir: t.TempDir()})), harness.Log(t))
	harness.Must(t, err)
	page := func(limit, want int, wantMore bool) []quarantine.Entry {
		t.Helper()
		some, more, err := q.Page(t.Context(), limit)
		harness.Must(t, err)
		if len(some) != want || more != wantMore {
			t.Fatalf("%d entries, more %v; want %d, %v", len(some), more, want, wantMore)
		}
		return some
	}
	page(10, 0, false)
	began := time.Now().UTC()
	all := make([]quarantine.Entry, 30)
	for i := range all {
		all[i] = quarantine.Entry{View: "durable", Stream: events.AggregateName(fmt.Sprint("agent.a.state.k", i)), First: uint64(i) + 1, Waiting: 1, Since: began.Add(time.Duration(i) * time.Second)}
		harness.Must(t, q.Put(t.Context(), all[i]))
	}
	page(30, 30, false)
	page(29, 29, true)
	for i := range 20 { // leave markers, and one that was dropped
		harness.Must(t, q.Remove(t.Context(), all[i]))
	}
	all[20].Dropped = true
	harness.Must(t, q.Put(t.Context(), all[20]))
	harness.Must(t, q.Request(t.Context(), all[25], quarantine.RequestRetry))
	all[21].Attempts++ // written last, and still the oldest
	harness.Must(t, q.Put(t.Context(), all[21]))
	some := page(9, 9, false)
	if some[0].First != 22 || some[0].Attempts != 1 || some[8].First != 30 || some[4].Request != quarantine.RequestRetry || some[0].Request != "" {
		t.Errorf("%+v", some)
	}
	if some = page(8, 8, true); some[0].First != 23 { // the one that was written last is left out
		t.Errorf("%+v", some)
	}
}
