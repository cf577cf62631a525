package embedded_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// Streams from before the files are encrypted lose no message: what they had, and what is
// written later, is found by its subject, also where nothing had been written before, or
// nothing is left. Consumers go on where they were.
func TestStreamsFromBeforeEncryption(t *testing.T) {
	for name, c := range map[string]struct {
		messages, acked int
		work            bool // acknowledged messages are removed
		purged          bool
	}{
		"never written": {}, "with messages": {messages: 3, acked: 2}, "purged": {messages: 3, purged: true}, "with many blocks": {messages: 2000, acked: 1},
		"all work done": {messages: 3, acked: 3, work: true}, "some work done": {messages: 3, acked: 2, work: true},
	} {
		for _, idle := range []int{0, 2} { // starts with encryption at which nothing is written
			t.Run(name+", "+strconv.Itoa(idle)+" starts idle", func(t *testing.T) {
				dir := t.TempDir()
				s := support.NATSFor(t, embedded.Config{Dir: dir, Synced: true})
				js := support.JetStream(t, support.Engine(t, s))
				cfg := streamConfig("KEPT")
				if c.work {
					cfg.Retention = jetstream.WorkQueuePolicy
				}
				stream, err := js.CreateStream(t.Context(), cfg)
				harness.Must(t, err)
				consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy})
				harness.Must(t, err)
				text := make([]byte, 8<<10)
				for i := range c.messages {
					_, err := js.PublishAsync("kept.old."+strconv.Itoa(i), text)
					harness.Must(t, err)
				}
				<-js.PublishAsyncComplete()
				for range c.acked {
					m, err := consumer.Next()
					harness.Must(t, err)
					harness.Must(t, m.DoubleAck(t.Context()))
				}
				if c.purged {
					harness.Must(t, stream.Purge(t.Context()))
				}
				s.Stop()
				for round := range idle + 3 {
					s = support.NATSFor(t, embedded.Config{Dir: dir, Synced: true, Key: storageKey})
					js = support.JetStream(t, support.Engine(t, s))
					stream, err = js.Stream(t.Context(), "KEPT")
					harness.Must(t, err)
					if last := stream.CachedInfo().State.LastSeq; last != uint64(c.messages+4*max(round-idle, 0)) {
						t.Errorf("round %d: the last message is %d", round, last)
					}
					for i := range c.messages {
						m, err := stream.GetLastMsgForSubject(t.Context(), "kept.old."+strconv.Itoa(i))
						if found, want := err == nil && len(m.Data) == len(text), !c.purged && (!c.work || i >= c.acked); found != want {
							t.Fatalf("round %d: message %d is found: %v, %v", round, i, found, err)
						}
					}
					consumer, err = stream.Consumer(t.Context(), "worker")
					harness.Must(t, err)
					if floor := consumer.CachedInfo().AckFloor.Stream; !c.purged && floor != uint64(c.acked) {
						t.Errorf("round %d: the consumer has acknowledged message %d, want %d", round, floor, c.acked)
					}
					for i := range 4 {
						if round < idle {
							break
						}
						subject := "kept.new." + strconv.Itoa(round) + strconv.Itoa(i)
						if _, err := stream.GetLastMsgForSubject(t.Context(), subject); err == nil {
							t.Errorf("%s is there before it is written", subject)
						}
						ack, err := js.Publish(t.Context(), subject, []byte("x"), jetstream.WithExpectLastSequencePerSubject(0))
						harness.Must(t, err)
						if m, err := stream.GetLastMsgForSubject(t.Context(), subject); err != nil || m.Sequence != ack.Sequence {
							t.Errorf("%s: %+v, %v, want message %d", subject, m, err, ack.Sequence)
						}
					}
					s.Stop()
				}
			})
		}
	}
}

// An encryption that was interrupted begins again from the copy of before; what is left of
// making or removing a copy goes.
func TestInterruptedEncryption(t *testing.T) {
	dir := t.TempDir()
	s := support.NATSFor(t, embedded.Config{Dir: dir})
	js := support.JetStream(t, support.Engine(t, s))
	_, err := js.CreateStream(t.Context(), streamConfig("KEPT"))
	harness.Must(t, err)
	for i := range 10 {
		_, err := js.Publish(t.Context(), "kept."+strconv.Itoa(i), []byte("x"))
		harness.Must(t, err)
	}
	s.Stop()
	streams, copied := filepath.Join(dir, "nats", "jetstream"), filepath.Join(dir, "nats", "before-encryption")
	for _, ending := range []string{"", ".partial", ".done"} {
		harness.Must(t, os.CopyFS(copied+ending, os.DirFS(streams)))
	}
	blocks, err := filepath.Glob(filepath.Join(streams, "*", "streams", "KEPT", "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatal(blocks, err)
	}
	harness.Must(t, os.Truncate(blocks[0], 100)) // the server was killed while it wrote the block
	for range 2 {
		s = support.NATSFor(t, embedded.Config{Dir: dir, Key: storageKey})
		stream, err := support.JetStream(t, support.Engine(t, s)).Stream(t.Context(), "KEPT")
		harness.Must(t, err)
		if n := stream.CachedInfo().State.Msgs; n != 10 {
			t.Errorf("%d of 10 messages are there", n)
		}
		s.Stop()
	}
	if left, err := filepath.Glob(copied + "*"); err != nil || len(left) > 0 {
		t.Errorf("copies are left: %v, %v", left, err)
	}
}
