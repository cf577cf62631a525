package journal

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/natsiotest"
)

// TestReadMessagesLargerThanMinReadAhead: a reader requests more bytes if the server
// accepts larger messages.
func TestReadMessagesLargerThanMinReadAhead(t *testing.T) {
	s := natsiotest.Run(t, &server.Options{MaxPayload: 24 << 20})
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	j, err := Open(t.Context(), nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{1, natsio.MinReadAhead + 1<<20, 1} {
		key := string(rune('a' + i))
		ev := events.Event{
			Type: events.StateSet, Aggregate: "agent", ID: "a", Key: key, Version: 1, Digest: "d", Schema: 1,
			Data: (&events.StateWrite{Value: []byte(`"` + strings.Repeat("x", size) + `"`)}).Encode(),
		}
		if _, err := j.Append(t.Context(), history.Writes(events.StateEntry("a", key), 0, key, []events.Event{ev})); err != nil {
			t.Fatal(err)
		}
	}
	c, err := j.Read(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	for r := uint64(1); r <= 3; r++ {
		if m := harness.Receive(t, "an event", c.Messages()); m.Revision != r || m.Bad != nil {
			t.Fatalf("expected revision %d: %d, %v", r, m.Revision, m.Bad)
		}
	}
}
