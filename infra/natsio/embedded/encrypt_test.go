package embedded_test

import (
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// Streams from before the files are encrypted lose no message: what they had, and what is
// written later, is found by its subject, also where nothing had been written before.
func TestStreamsFromBeforeEncryption(t *testing.T) {
	for name, c := range map[string]struct {
		messages int
		purged   bool
	}{"never written": {}, "with messages": {3, false}, "purged": {3, true}, "with many blocks": {2000, false}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := support.NATSFor(t, embedded.Config{Dir: dir, Synced: true})
			js := support.JetStream(t, support.Engine(t, s))
			stream, err := js.CreateStream(t.Context(), streamConfig("KEPT"))
			harness.Must(t, err)
			text := make([]byte, 8<<10)
			for i := range c.messages {
				_, err := js.PublishAsync("kept.old."+strconv.Itoa(i), text)
				harness.Must(t, err)
			}
			<-js.PublishAsyncComplete()
			if c.purged {
				harness.Must(t, stream.Purge(t.Context()))
			}
			s.Stop()
			for round := range 3 {
				s = support.NATSFor(t, embedded.Config{Dir: dir, Synced: true, Key: "a key of thirty-two characters .."})
				stream, err = support.JetStream(t, support.Engine(t, s)).Stream(t.Context(), "KEPT")
				harness.Must(t, err)
				if last := stream.CachedInfo().State.LastSeq; last != uint64(c.messages+4*round) {
					t.Errorf("round %d: the last message is %d", round, last)
				}
				for i := range c.messages {
					m, err := stream.GetLastMsgForSubject(t.Context(), "kept.old."+strconv.Itoa(i))
					if found := err == nil && len(m.Data) == len(text); found == c.purged {
						t.Fatalf("round %d: message %d is found: %v, %v", round, i, found, err)
					}
				}
				js = support.JetStream(t, support.Engine(t, s))
				for i := range 4 {
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
