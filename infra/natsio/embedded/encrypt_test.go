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

// kept is a stream from before its files are encrypted.
type kept struct {
	messages, acked int
	size            int  // bytes of a message
	work            bool // acknowledged messages are removed
	purged          bool
}

// Streams from before the files are encrypted lose no message: what they had, and what is
// written later, is found by its subject, also where nothing had been written before, or
// nothing is left. Consumers go on where they were.
func TestStreamsFromBeforeEncryption(t *testing.T) {
	streams := map[string]kept{
		"NEW": {}, "SOME": {messages: 3, acked: 2}, "PURGED": {messages: 3, purged: true}, "BLOCKS": {messages: 18, acked: 1, size: 512 << 10},
		"DONE": {messages: 3, acked: 3, work: true}, "WORK": {messages: 3, acked: 2, work: true},
	}
	for _, idle := range []int{0, 2} { // starts with encryption at which nothing is written
		t.Run(strconv.Itoa(idle)+" starts idle", func(t *testing.T) {
			dir := t.TempDir()
			s := support.NATSFor(t, embedded.Config{Dir: dir, Synced: true})
			for name, c := range streams {
				c.fill(t, support.JetStream(t, support.Engine(t, s)), name)
			}
			s.Stop()
			for round := range idle + 2 {
				s = support.NATSFor(t, embedded.Config{Dir: dir, Synced: true, Key: storageKey})
				js := support.JetStream(t, support.Engine(t, s))
				for name, c := range streams {
					c.check(t, js, name, 4*max(round-idle, 0))
					for i := range 4 {
						if round >= idle {
							writes(t, js, name, name+".new."+strconv.Itoa(round)+strconv.Itoa(i))
						}
					}
				}
				s.Stop()
			}
		})
	}
}

func (c kept) fill(t *testing.T, js jetstream.JetStream, name string) {
	t.Helper()
	cfg := jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}}
	if c.work {
		cfg.Retention = jetstream.WorkQueuePolicy
	}
	stream, err := js.CreateStream(t.Context(), cfg)
	harness.Must(t, err)
	consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy})
	harness.Must(t, err)
	for i := range c.messages {
		_, err := js.Publish(t.Context(), name+".old."+strconv.Itoa(i), make([]byte, c.size))
		harness.Must(t, err)
	}
	for range c.acked {
		m, err := consumer.Next()
		harness.Must(t, err)
		harness.Must(t, m.DoubleAck(t.Context()))
	}
	if c.purged {
		harness.Must(t, stream.Purge(t.Context()))
	}
}

// check compares a stream with what it had and the number of messages that were written later.
func (c kept) check(t *testing.T, js jetstream.JetStream, name string, later int) {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	harness.Must(t, err)
	if last := stream.CachedInfo().State.LastSeq; last != uint64(c.messages+later) {
		t.Errorf("the last message of %s is %d, want %d", name, last, c.messages+later)
	}
	for i := range c.messages {
		m, err := stream.GetLastMsgForSubject(t.Context(), name+".old."+strconv.Itoa(i))
		if found, want := err == nil && len(m.Data) == c.size, !c.purged && (!c.work || i >= c.acked); found != want {
			t.Errorf("message %d of %s is found: %v, %v", i, name, found, err)
		}
	}
	consumer, err := stream.Consumer(t.Context(), "worker")
	harness.Must(t, err)
	if floor := consumer.CachedInfo().AckFloor.Stream; !c.purged && floor != uint64(c.acked) {
		t.Errorf("the consumer of %s has acknowledged message %d, want %d", name, floor, c.acked)
	}
}

// writes looks for the message of a subject that has none, as the engine does, writes it and
// looks again.
func writes(t *testing.T, js jetstream.JetStream, name, subject string) {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	harness.Must(t, err)
	if _, err := stream.GetLastMsgForSubject(t.Context(), subject); err == nil {
		t.Errorf("%s is there before it is written", subject)
	}
	ack, err := js.Publish(t.Context(), subject, []byte("x"), jetstream.WithExpectLastSequencePerSubject(0))
	harness.Must(t, err)
	if m, err := stream.GetLastMsgForSubject(t.Context(), subject); err != nil || m.Sequence != ack.Sequence {
		t.Errorf("%s: %+v, %v, want message %d", subject, m, err, ack.Sequence)
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
