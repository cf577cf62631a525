package journal

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/natsiotest"
)

// TestServerCodes provokes each server error code that the adapters act on, because
// the codes may change between server versions.
func TestServerCodes(t *testing.T) {
	js := natsiotest.Limited(t, 4<<20, 4<<20)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "S", Subjects: []string{"s.>"}, AllowAtomicPublish: true, MaxMsgSize: 1000, MaxBytes: 1 << 20, Discard: jetstream.DiscardNew,
	}); err != nil {
		t.Fatal(err)
	}
	publish := func(subject string, size int, opts ...jetstream.PublishOpt) error {
		_, err := js.Publish(t.Context(), subject, make([]byte, size), opts...)
		return err
	}
	if err := publish("s.a", 1, jetstream.WithMsgID("known")); err != nil {
		t.Fatal(err)
	}

	stale := publish("s.a", 1, jetstream.WithExpectLastSequencePerSubject(0))
	wantCode(t, "a stale expectation", stale, natsio.CodeWrongLastSequence)
	wantMapped(t, stale, history.ErrConflict)

	batch := []*nats.Msg{
		{Subject: "s.b", Header: nats.Header{jetstream.MsgIDHeader: []string{"known"}}}, {Subject: "s.b", Header: nats.Header{}},
	}
	_, known := jetstreamext.PublishMsgBatch(t.Context(), js, batch)
	wantCode(t, "a batch with a known message id", known, natsio.CodeBatchDuplicate)
	wantMapped(t, known, history.ErrOutcomeUnknown)

	wantCode(t, "a message over the stream's limit", publish("s.a", 2000), natsio.CodeMessageTooLarge)

	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "SMALL", Subjects: []string{"small"}, MaxBytes: 1000, Discard: jetstream.DiscardNew,
	}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "a full stream", publish("small", 2000), natsio.CodeStreamFull)

	for storage, code := range map[jetstream.StorageType]jetstream.ErrorCode{
		jetstream.FileStorage: natsio.CodeStorageExceeded, jetstream.MemoryStorage: natsio.CodeMemoryExceeded,
	} {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "BIG", Subjects: []string{"big"}, MaxBytes: 1 << 30, Storage: storage})
		wantCode(t, storage.String()+" beyond the server's", err, code)
	}
}

func TestServerCodeOfAFullServer(t *testing.T) {
	js := natsiotest.Limited(t, 4<<20, 1<<20)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 40 {
		if _, err = js.Publish(t.Context(), "s", make([]byte, 100<<10)); err != nil {
			break
		}
	}
	wantCode(t, "a publish to a full server", err, natsio.CodeNoResources)
	if got := appendError(err); errors.Is(got, history.ErrOutcomeUnknown) || errors.Is(got, history.ErrConflict) {
		t.Errorf("certainly not stored, mapped to %v", got)
	}
}

func TestServerCodeOfAReplicatedRace(t *testing.T) {
	js := natsiotest.Cluster(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	seen := false
	last := uint64(0)
	harness.Eventually(t, "a race inside the stream", func() bool {
		var futures []jetstream.PubAckFuture
		for range 20 {
			f, err := js.PublishMsgAsync(&nats.Msg{Subject: "s", Header: nats.Header{
				jetstream.ExpectedLastSubjSeqHeader: []string{fmt.Sprint(last)}}})
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, f)
		}
		stored := 0
		for _, f := range futures {
			select {
			case ack := <-f.Ok():
				stored++
				last = ack.Sequence
			case err := <-f.Err():
				wantMapped(t, err, history.ErrConflict)
				seen = seen || natsio.HasCode(err, natsio.CodeLastSeqInFlight)
			}
		}
		if stored != 1 {
			t.Fatalf("%d of 20 messages with the same expected sequence were stored", stored)
		}
		return seen
	})
}

func wantCode(t *testing.T, what string, err error, code jetstream.ErrorCode) {
	t.Helper()
	if !natsio.HasCode(err, code) {
		t.Errorf("%s: code %d expected, got %#v", what, code, err)
	}
}

func wantMapped(t *testing.T, err, want error) {
	t.Helper()
	if got := appendError(err); !errors.Is(got, want) {
		t.Errorf("%v is mapped to %v, not to %v", err, got, want)
	}
}
