package embedded_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

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
		"NEW": {}, "SOME": {messages: 3, acked: 2, size: 40}, "PURGED": {messages: 3, purged: true}, "BLOCKS": {messages: 18, acked: 1, size: 512 << 10},
		"DONE": {messages: 3, acked: 3, work: true}, "WORK": {messages: 3, acked: 2, size: 40, work: true},
	}
	for _, idle := range []int{0, 2} { // starts with encryption at which nothing is written
		t.Run(strconv.Itoa(idle)+" starts idle", func(t *testing.T) {
			dir := t.TempDir()
			s := support.NATSFor(t, embedded.Config{Dir: dir, Synced: true})
			for name, c := range streams {
				c.fill(t, support.JetStream(t, support.Engine(t, s)), name)
			}
			ownStream(t, s)
			created := createdOf(t, s, streams)
			s.Stop()
			for round := range idle + 2 {
				s = support.NATSFor(t, embedded.Config{Dir: dir, Synced: true, Key: storageKey})
				js := support.JetStream(t, support.Engine(t, s))
				if now := createdOf(t, s, streams); !maps.Equal(now, created) {
					t.Errorf("round %d: the streams and consumers were created at\n%v, want\n%v", round, now, created)
				}
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

// createdOf is when streams and their consumers were created: by that the engine knows one that
// was removed and made again.
func createdOf(t *testing.T, s *embedded.Server, streams map[string]kept) map[string]time.Time {
	t.Helper()
	all := map[string]time.Time{}
	add := func(js jetstream.JetStream, name string) {
		stream, err := js.Stream(t.Context(), name)
		harness.Must(t, err)
		all[name] = stream.CachedInfo().Created
		for c := range stream.ListConsumers(t.Context()).Info() {
			all[name+" "+c.Name] = c.Created
		}
	}
	for name := range streams {
		add(support.JetStream(t, support.Engine(t, s)), name)
	}
	add(support.JetStream(t, support.Client(t, s)), "OWN")
	if want := 2*len(streams) + 3; len(all) != want {
		t.Errorf("%d streams and consumers, want %d", len(all), want)
	}
	return all
}

// ownStream is a stream of a client without credentials, with one consumer that it pulls from
// and one that the server pushes to.
func ownStream(t *testing.T, s *embedded.Server) {
	t.Helper()
	js := support.JetStream(t, support.Client(t, s))
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OWN", Subjects: []string{"own.>"}, MaxBytes: 1 << 20})
	harness.Must(t, err)
	_, err = stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "worker", FilterSubject: "own.a.>"})
	harness.Must(t, err)
	_, err = stream.CreatePushConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "pushed", DeliverSubject: "heard", FilterSubjects: []string{"own.b", "own.c"}})
	harness.Must(t, err)
}

// text is the value of a message that no other has.
func text(subject string, size int) []byte {
	return bytes.Repeat([]byte(subject+" "), size/(len(subject)+1)+1)[:size]
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
		_, err := js.Publish(t.Context(), name+".old."+strconv.Itoa(i), text(name+".old."+strconv.Itoa(i), c.size))
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
		if found, want := err == nil && bytes.Equal(m.Data, text(m.Subject, c.size)), !c.purged && (!c.work || i >= c.acked); found != want {
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
	ack, err := js.Publish(t.Context(), subject, text(subject, 40), jetstream.WithExpectLastSequencePerSubject(0))
	harness.Must(t, err)
	if m, err := stream.GetLastMsgForSubject(t.Context(), subject); err != nil || m.Sequence != ack.Sequence || !bytes.Equal(m.Data, text(subject, 40)) {
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
		_, err := js.Publish(t.Context(), "kept."+strconv.Itoa(i), text("kept."+strconv.Itoa(i), 40))
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
		for i := range 10 {
			subject := "kept." + strconv.Itoa(i)
			if m, err := stream.GetLastMsgForSubject(t.Context(), subject); err != nil || !bytes.Equal(m.Data, text(subject, 40)) {
				t.Errorf("%s is not what was stored: %+v, %v", subject, m, err)
			}
		}
		s.Stop()
	}
	if left, err := filepath.Glob(copied + "*"); err != nil || len(left) > 0 {
		t.Errorf("copies are left: %v, %v", left, err)
	}
}
