package embedded_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// encryptDir makes this test binary a server that encrypts the named directory until it is
// killed.
const encryptDir = "TIDEMARK_TEST_ENCRYPT_DIR"

const storageKey = "a key of thirty-two characters .."

func encryptIn(dir string) {
	_, err := embedded.Start(embedded.Config{Dir: dir, Listen: "127.0.0.1:0", Synced: true, Key: storageKey, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	<-make(chan struct{})
}

// A server that is killed while it encrypts its streams loses nothing of them: the next one
// encrypts them again.
func TestKilledWhileItEncrypts(t *testing.T) {
	plain := t.TempDir()
	s := support.NATSFor(t, embedded.Config{Dir: plain, Synced: true})
	js := support.JetStream(t, support.Engine(t, s))
	const streams, messages, acked, size = 2, 34, 7, 256 << 10
	for i := range streams {
		name := "KEPT" + strconv.Itoa(i)
		cfg := streamConfig(name)
		cfg.Subjects = []string{name + ".>"}
		stream, err := js.CreateStream(t.Context(), cfg)
		harness.Must(t, err)
		consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy})
		harness.Must(t, err)
		for n := range messages {
			_, err := js.PublishAsync(name+"."+strconv.Itoa(n), text(name+"."+strconv.Itoa(n), size))
			harness.Must(t, err)
		}
		<-js.PublishAsyncComplete()
		for range acked {
			m, err := consumer.Next()
			harness.Must(t, err)
			harness.Must(t, m.DoubleAck(t.Context()))
		}
	}
	s.Stop()
	self, err := os.Executable()
	harness.Must(t, err)
	for _, keys := range []int{1, 4, 7} { // files of keys that are there when it is killed
		t.Run(strconv.Itoa(keys), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			harness.Must(t, os.CopyFS(dir, os.DirFS(plain)))
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), encryptDir+"="+dir)
			child := harness.StartChild(t, "a server that encrypts", cmd)
			for end := time.Now().Add(harness.Patience); keyFiles(t, dir) < keys; {
				if time.Now().After(end) {
					t.Fatal("nothing is encrypted")
				}
			}
			child.Kill()
			for range 2 {
				s := support.NATSFor(t, embedded.Config{Dir: dir, Synced: true, Key: storageKey})
				js := support.JetStream(t, support.Engine(t, s))
				for i := range streams {
					name := "KEPT" + strconv.Itoa(i)
					stream, err := js.Stream(t.Context(), name)
					harness.Must(t, err)
					for n := range messages {
						m, err := stream.GetLastMsgForSubject(t.Context(), name+"."+strconv.Itoa(n))
						if err != nil || !bytes.Equal(m.Data, text(m.Subject, size)) {
							t.Errorf("message %d of %s is not what was stored: %v", n, name, err)
						}
					}
					consumer, err := stream.Consumer(t.Context(), "worker")
					harness.Must(t, err)
					if floor := consumer.CachedInfo().AckFloor.Stream; floor != acked {
						t.Errorf("the consumer of %s has acknowledged message %d, want %d", name, floor, acked)
					}
				}
				s.Stop()
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "nats", "before-encryption*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// An encryption for whose copy the disk has no room does not begin, and leaves the streams as
// they are.
func TestNoRoomToEncrypt(t *testing.T) {
	dir, ok := harness.SmallDisk(t, 32<<20)
	if !ok {
		return // no file system can be mounted here; the disk would be as large as the machine's
	}
	s := support.NATSFor(t, embedded.Config{Dir: dir, Synced: true})
	js := support.JetStream(t, support.Engine(t, s))
	_, err := js.CreateStream(t.Context(), streamConfig("KEPT"))
	harness.Must(t, err)
	for range 20 {
		_, err := js.Publish(t.Context(), "kept.a", text("kept.a", 1<<20))
		harness.Must(t, err)
	}
	s.Stop()
	refused, err := embedded.Start(embedded.Config{Dir: dir, Listen: "127.0.0.1:0", Key: storageKey, Log: harness.Log(t)})
	if err == nil {
		refused.Stop()
	}
	if err == nil || !strings.Contains(err.Error(), "MiB are free on the disk") {
		t.Error(err)
	}
	s = support.NATSFor(t, embedded.Config{Dir: dir, Synced: true})
	stream, err := support.JetStream(t, support.Engine(t, s)).Stream(t.Context(), "KEPT")
	harness.Must(t, err)
	if n := stream.CachedInfo().State.Msgs; n != 20 {
		t.Errorf("%d of 20 messages are there", n)
	}
}

// keyFiles counts the keys of streams, consumers and blocks.
func keyFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	streams := filepath.Join(dir, "nats", "jetstream", "*", "streams", "*")
	for _, pattern := range []string{filepath.Join(streams, "*.key"), filepath.Join(streams, "*", "*.key"), filepath.Join(streams, "*", "*", "*.key")} {
		found, err := filepath.Glob(pattern)
		harness.Must(t, err)
		n += len(found)
	}
	return n
}
