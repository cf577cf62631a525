package scale

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestEventsReadRate reads a journal with an ordered consumer of the server and with the query
// events.read, in turn: both have every event.
func TestEventsReadRate(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--durability", "relaxed", "--lifecycle", "manual"}})
	m := model{entries: 320}
	m.fill(t, e, size(t, "EVENTS_READ", 3_000))
	c := e.Client(t)
	c.CaughtUpWithin(t, 10*time.Minute)
	js := e.OperatorJetStream(t)
	stream, err := js.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	head := stream.CachedInfo().State.LastSeq
	var ratios []float64
	for range 5 {
		began := time.Now()
		consumer, err := js.OrderedConsumer(t.Context(), "EVENTS", jetstream.OrderedConsumerConfig{})
		harness.Must(t, err)
		it, err := consumer.Messages()
		harness.Must(t, err)
		for n := uint64(0); n < head; {
			msg, err := it.Next()
			harness.Must(t, err)
			meta, err := msg.Metadata()
			harness.Must(t, err)
			if n++; meta.Sequence.Stream != n {
				t.Fatalf("sequence %d after %d", meta.Sequence.Stream, n-1)
			}
		}
		it.Stop()
		raw := time.Since(began)
		began = time.Now()
		n := 0
		for from := uint64(1); from <= head; {
			answer, err := c.Query(t.Context(), "queries.events.read", harness.M{"from": from, "until": head, "limit": 1000})
			harness.Must(t, err)
			n += bytes.Count(answer, []byte(`"digest":`))
			var page struct {
				Next uint64 `json:"next"`
			}
			tail := answer[bytes.LastIndex(answer, []byte(`,"next":`))+1:]
			harness.Must(t, json.Unmarshal(append([]byte("{"), tail...), &page))
			from = page.Next
		}
		query := time.Since(began)
		if n != int(head) {
			t.Errorf("the query read %d of %d events", n, head)
		}
		ratios = append(ratios, raw.Seconds()/query.Seconds())
		t.Logf("%d events: ordered consumer %.0f/s, events.read %.0f/s, ratio %.2f", head, float64(head)/raw.Seconds(), float64(head)/query.Seconds(), ratios[len(ratios)-1])
	}
	slices.Sort(ratios)
	t.Logf("median ratio %.2f", ratios[2])
}
