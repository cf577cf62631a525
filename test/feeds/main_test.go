// Package feeds uses what the engine tells the world, and what it takes from
// applications: the seed's streams and their workers, messages, the outbox and
// the notices of changes in SQL.
package feeds

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		harness.Clean()
		os.Exit(code)
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// heard is one message that somebody outside listened to.
type heard struct {
	Subject string
	Body    map[string]any
	Raw     []byte
	Header  map[string][]string
	Seq     uint64
}

// isMarker tells a feed's position from what it tells.
func (h heard) isMarker() bool { return strings.Contains(h.Subject, ".$feeds.") }

// stream is all that a stream holds under a subject, in its order.
func stream(t *testing.T, c *harness.Client, name, filter string) (all []heard) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := c.JS.Stream(ctx, name)
	must(t, err)
	oc, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}})
	must(t, err)
	info, err := oc.Info(ctx)
	must(t, err)
	if info.NumPending == 0 {
		return nil
	}
	it, err := oc.Messages()
	must(t, err)
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		must(t, err)
		meta, err := msg.Metadata()
		must(t, err)
		h := heard{Subject: msg.Subject(), Raw: msg.Data(), Header: msg.Headers(), Seq: meta.Sequence.Stream}
		if len(h.Raw) > 0 {
			must(t, json.Unmarshal(h.Raw, &h.Body))
		}
		all = append(all, h)
		if meta.NumPending == 0 {
			return all
		}
	}
}

// command sends a command that has to be accepted.
func command(t *testing.T, c *harness.Client, subject string, body any) harness.Receipt {
	t.Helper()
	r, err := c.Command(t.Context(), subject, harness.NewID(), body)
	if err != nil || r.Outcome != "accepted" {
		t.Fatalf("%s: %+v %v", subject, r, err)
	}
	return r
}
