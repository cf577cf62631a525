package journal

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/natsiotest"
)

// TestTheLargestEvent: an event leaves room in a message for what it is stored and
// answered with.
func TestTheLargestEvent(t *testing.T) {
	s := natsiotest.Run(t, &server.Options{MaxPayload: 64 << 10})
	nc, err := nats.Connect(s.ClientURL())
	harness.Must(t, err)
	t.Cleanup(nc.Close)
	j, err := Open(t.Context(), nc, Config{})
	harness.Must(t, err)
	ev := events.Event{Type: events.StateSet, Aggregate: "agent", ID: "a", Key: "k", Version: 1, Digest: "d", Schema: 1}
	sized := func(key string, size int) []history.Write {
		ev := ev
		ev.Key, ev.Data = key, []byte(`""`)
		ev.Data = []byte(`"` + strings.Repeat("x", size-len(ev.Encode())) + `"`)
		return history.Writes(events.StateEntry("a", key), 0, key, []events.Event{ev})
	}
	most := 64<<10 - history.MessageRoom
	for _, w := range [][]history.Write{sized("a", most), append(sized("b", 500), sized("c", most)...)} {
		if _, err := j.Append(t.Context(), w); err != nil {
			t.Errorf("%d events: %v", len(w), err)
		}
	}
	for _, w := range [][]history.Write{sized("d", most+1), append(sized("e", 500), sized("f", most+1)...)} {
		var no *domain.Error
		if _, err := j.Append(t.Context(), w); !errors.As(err, &no) || no.Code != "event.too_large" {
			t.Errorf("%d events: %v", len(w), err)
		}
	}
}

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
