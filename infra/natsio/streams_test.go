package natsio_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/natsiotest"
	"github.com/tidemark-engine/tidemark/test/support"
)

func streamConfig(name string) jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: name, Subjects: []string{strings.ToLower(name) + ".>"}, Storage: jetstream.FileStorage,
		PersistMode: jetstream.AsyncPersistMode, AllowDirect: true, AllowMsgTTL: true, AllowMsgSchedules: true}
}

func open(t *testing.T, js jetstream.JetStream, cfg jetstream.StreamConfig) jetstream.StreamConfig {
	t.Helper()
	s, err := natsio.OpenStream(t.Context(), js, cfg)
	harness.Must(t, err)
	return s.CachedInfo().Config
}

// TestReplicas checks the replicas on a cluster whose servers do not advertise one
// another, of a new stream and of one that has too few, and on a single server.
func TestReplicas(t *testing.T) {
	t.Parallel()
	js := natsiotest.Cluster(t)
	if got := open(t, js, streamConfig("NEW")); got.Replicas != 3 || got.PersistMode != jetstream.DefaultPersistMode || got.MaxBytes > 0 {
		t.Errorf("a new stream: %+v", got)
	}
	few := streamConfig("FEW")
	few.PersistMode = jetstream.DefaultPersistMode
	few.Replicas, few.Metadata = 1, map[string]string{"kept": "yes"}
	_, err := js.CreateStream(t.Context(), few)
	harness.Must(t, err)
	if got := open(t, js, streamConfig("FEW")); got.Replicas != 3 || got.Metadata["kept"] != "yes" {
		t.Errorf("a stream with one replica: %+v", got)
	}
	one := streamConfig("ONE")
	one.Replicas = 1
	if got := open(t, js, one); got.Replicas != 1 {
		t.Errorf("a stream that wants one replica: %+v", got)
	}

	single := support.JetStream(t, support.Engine(t, support.NATS(t)))
	for range 2 { // new, existing
		if got := open(t, single, streamConfig("NEW")); got.Replicas != 1 || got.PersistMode != jetstream.AsyncPersistMode {
			t.Errorf("on a single server: %+v", got)
		}
	}
}

// TestDroppedProperty checks that a stream which lacks a property that the engine
// needs is refused.
func TestDroppedProperty(t *testing.T) {
	t.Parallel()
	js := support.JetStream(t, support.Engine(t, support.NATS(t)))
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OLD", Subjects: []string{"old.>"}, AllowDirect: true})
	harness.Must(t, err)
	want := streamConfig("OLD")
	want.AllowAtomicPublish = true
	_, err = natsio.OpenStream(t.Context(), js, want)
	if err == nil || !strings.Contains(err.Error(), "OLD lacks allow_atomic, allow_msg_ttl, allow_msg_schedules") {
		t.Errorf("got %v", err)
	}
}

// TestAccountLimits opens streams in an account that demands size limits and
// permits few streams and consumers.
func TestAccountLimits(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nats.conf")
	harness.Must(t, os.WriteFile(file, []byte(`accounts {
	A { users: [{user: a, password: a}]
		jetstream { max_file: 64MB, max_mem: 8MB, max_streams: 3, max_consumers: 2, max_bytes_required: true } }
	B { users: [{user: b, password: b}] }
}`), 0o600))
	opts, err := server.ProcessConfigFile(file)
	harness.Must(t, err)
	s := natsiotest.Run(t, opts)
	connect := func(user string) jetstream.JetStream {
		nc, err := nats.Connect(s.ClientURL(), nats.UserInfo(user, user))
		harness.Must(t, err)
		t.Cleanup(nc.Close)
		return support.JetStream(t, nc)
	}
	js := connect("a")
	if got := open(t, js, streamConfig("EVENTS")); got.MaxBytes < 16<<20 || got.MaxBytes > 32<<20 {
		t.Errorf("a stream without a limit gets %d bytes", got.MaxBytes)
	}
	large := streamConfig("LARGE")
	large.MaxBytes = 1 << 40
	if got := open(t, js, large); got.MaxBytes < 1<<20 {
		t.Errorf("a stream with too large a limit gets %d bytes", got.MaxBytes)
	}
	err = natsio.CheckAccount(t.Context(), js, []string{"EVENTS", "C", "D"}, 2)
	if err == nil || !strings.Contains(err.Error(), "permits 3 streams and has 2, this engine needs 2 more: raise max_streams to at least 4") {
		t.Errorf("too few streams: %v", err)
	}
	harness.Must(t, natsio.CheckAccount(t.Context(), js, []string{"EVENTS", "C"}, 2))
	if err := natsio.CheckAccount(t.Context(), js, nil, 3); err == nil || !strings.Contains(err.Error(), "raise max_consumers") {
		t.Errorf("too few consumers: %v", err)
	}
	open(t, js, streamConfig("C"))
	var quota *natsio.QuotaError
	if _, err := natsio.OpenStream(t.Context(), js, streamConfig("D")); !errors.As(err, &quota) || !strings.Contains(err.Error(), "raise max_streams") {
		t.Errorf("one stream too many: %v", err)
	}
	if err := natsio.CheckAccount(t.Context(), connect("b"), nil, 2); !errors.As(err, &quota) || !strings.Contains(err.Error(), "JetStream is off") {
		t.Errorf("without JetStream: %v", err)
	}
}

// TestFind: a stream that another engine is creating is found as soon as it is there.
func TestFind(t *testing.T) {
	js := support.JetStream(t, support.Engine(t, support.NATS(t)))
	created := make(chan error, 1)
	time.AfterFunc(200*time.Millisecond, func() {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LATER", Subjects: []string{"later"}})
		created <- err
	})
	s, err := natsio.Find(t.Context(), js, "LATER")
	harness.Must(t, err)
	if name := s.CachedInfo().Config.Name; name != "LATER" {
		t.Error(name)
	}
	harness.Must(t, harness.Receive(t, "the answer to its creator", created))
}
