package embedded_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestADiskThatWasFull: a stream that could not write is named, and stores again
// after RestartJetStream; what was acknowledged is still there.
func TestADiskThatWasFull(t *testing.T) {
	dir, ok := harness.SmallDisk(t, 32<<20)
	if !ok {
		limitReached(t)
		return
	}
	s, err := embedded.Start(embedded.Config{Dir: dir, Listen: "127.0.0.1:0", Synced: true, Log: harness.Log(t)})
	harness.Must(t, err)
	t.Cleanup(s.Stop)
	nc, err := nats.Connect(s.URL(), s.Options()...)
	harness.Must(t, err)
	t.Cleanup(nc.Close)
	js := support.JetStream(t, nc)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.>"}})
	harness.Must(t, err)
	_, err = js.Publish(t.Context(), "kept.a", []byte("first"))
	harness.Must(t, err)
	acked := uint64(1)
	for range 5 {
		free := harness.FillDisk(t, dir)
		if left, size, ok := s.Disk(); !ok || left > 64<<10 || size != 32<<20 {
			t.Errorf("a full disk has %d of %d bytes free (%v)", left, size, ok)
		}
		for h := s.Health(); !slices.Equal(h.Failed, []string{"KEPT"}); h = s.Health() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if ack, err := js.Publish(ctx, "kept.a", make([]byte, 16<<10), jetstream.WithRetryAttempts(0)); err == nil {
				acked = ack.Sequence
			}
			cancel()
		}
		free()
		harness.Must(t, s.RestartJetStream())
		if h := s.Health(); h.Off || len(h.Failed)+len(h.Lost) > 0 {
			t.Errorf("after the restart: %+v", h)
		}
		ack, err := js.Publish(t.Context(), "kept.a", []byte("again"))
		harness.Must(t, err)
		if ack.Sequence <= acked {
			t.Errorf("sequence %d was acknowledged, the next is %d", acked, ack.Sequence)
		}
		acked = ack.Sequence
	}
	info, err := stream.Info(t.Context())
	if err != nil || info.State.Msgs < acked || info.State.Msgs != info.State.LastSeq {
		t.Errorf("%d messages of %d acknowledged, %v", info.State.Msgs, acked, err)
	}
}

// limitReached is the same with the limit of the server, where no file system can
// be mounted.
func limitReached(t *testing.T) {
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Synced: true, MaxStore: 1 << 20, Log: harness.Log(t)})
	harness.Must(t, err)
	t.Cleanup(s.Stop)
	nc, err := nats.Connect(s.URL(), s.Options()...)
	harness.Must(t, err)
	t.Cleanup(nc.Close)
	js := support.JetStream(t, nc)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.>"}})
	harness.Must(t, err)
	for err == nil {
		_, err = js.Publish(t.Context(), "kept.a", make([]byte, 64<<10))
	}
	harness.Must(t, stream.Purge(t.Context()))
	harness.Must(t, s.RestartJetStream())
	if _, err := js.Publish(t.Context(), "kept.a", []byte("again")); err != nil {
		t.Error(err)
	}
}
