package natsio_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestLastMessagesOfManySubjects reads more subjects than one request takes, some
// without a message. Each last message is yielded once, with and without a bound.
// Requests of many subjects, which the server answers by a walk over all subjects of
// the stream, are sent only for those with a later message.
func TestLastMessagesOfManySubjects(t *testing.T) {
	const present, absent = 2*natsio.MultiLastSubjects + 100, 50
	nc := support.Engine(t, support.NATS(t))
	js := support.JetStream(t, nc)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "MANY", Subjects: []string{"many.>"}, Storage: jetstream.MemoryStorage, AllowDirect: true,
	}); err != nil {
		t.Fatal(err)
	}
	publisher, err := natsio.NewPublisher(nc)
	if err != nil {
		t.Fatal(err)
	}
	var msgs []*nats.Msg
	for i := range 2 * present { // each subject twice
		msgs = append(msgs, &nats.Msg{Subject: "many." + strconv.Itoa(i%present), Data: []byte(strconv.Itoa(i))})
	}
	for _, ack := range publisher.Publish(t.Context(), msgs...) {
		if ack.Err != nil {
			t.Fatal(ack.Err)
		}
	}
	subjects := make([]string, present+absent)
	for i := range subjects {
		subjects[i] = "many." + strconv.Itoa(i)
	}
	asked, err := nc.SubscribeSync("$JS.API.DIRECT.GET.MANY")
	if err != nil {
		t.Fatal(err)
	}
	for upTo, most := range map[uint64]int{0: 0, present + 7: 3, 2*present - 7: 1, 2 * present: 0} {
		got := map[string]uint64{}
		err := natsio.LastMessages(t.Context(), nc, "MANY", natsio.LastQuery{Subjects: subjects, UpToSeq: upTo}, func(m *jetstream.RawStreamMsg) {
			if got[m.Subject] != 0 || string(m.Data) != strconv.FormatUint(m.Sequence-1, 10) {
				t.Errorf("%s at %d is %q, already yielded at %d", m.Subject, m.Sequence, m.Data, got[m.Subject])
			}
			got[m.Subject] = m.Sequence
		})
		if err != nil || len(got) != present {
			t.Fatalf("up to %d: %d subjects, %v", upTo, len(got), err)
		}
		if n, _, _ := asked.Pending(); nc.Flush() != nil || n > most {
			t.Errorf("up to %d: %d requests of many subjects, at most %d are needed", upTo, n, most)
		}
		for ; err == nil; _, err = asked.NextMsg(time.Millisecond) { // begin again
		}
		for i := range present {
			want := uint64(present + i + 1)
			if upTo > 0 && want > upTo {
				want = uint64(i + 1)
			}
			if at := got["many."+strconv.Itoa(i)]; at != want {
				t.Fatalf("up to %d: subject %d is at %d, not %d", upTo, i, at, want)
			}
		}
	}
}

// TestIncompleteReplyIsAnError checks that a missing reply is not taken for a
// missing message.
func TestIncompleteReplyIsAnError(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	q := natsio.LastQuery{Subjects: []string{"many.1"}}
	if _, err := q.Fetch(t.Context(), nc, "MANY"); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("without the stream: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	silent, err := nc.SubscribeSync("$JS.API.DIRECT.GET.SILENT")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Fetch(ctx, nc, "SILENT"); !errors.Is(err, context.Canceled) {
		t.Errorf("without a reply: %v", err)
	}
	if err := silent.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
}
