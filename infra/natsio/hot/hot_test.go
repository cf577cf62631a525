package hot_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/projectionstest"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// smallBucket is AgentStateBucket with a smaller reservation.
func smallBucket() hot.BucketConfig {
	cfg := hot.AgentStateBucket
	cfg.MaxBytes = 64 << 20
	return cfg
}

func openBucket(t testing.TB, nc *nats.Conn, cfg hot.BucketConfig) *hot.Bucket {
	t.Helper()
	b, err := hot.OpenBucket(t.Context(), nc, cfg, harness.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHotTarget(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	j, err := journal.Open(t.Context(), nc, journal.Config{Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	for p := range 3 {
		extendJournal(t, nc, natsio.StreamName(p, 3), 5000)
	}
	buckets := 0
	for name, history := range map[string]int64{"history of 3": 3, "no history": 1} {
		t.Run(name, func(t *testing.T) {
			projectionstest.Target(t, func(t *testing.T) projectionstest.Store {
				buckets++
				cfg := smallBucket()
				cfg.History, cfg.Name = history, fmt.Sprint("B", buckets)
				reader := openBucket(t, nc, cfg)
				return projectionstest.Store{
					ID: j.ID(), Partitions: 3,
					Open: func(t *testing.T, progress *projections.Progress) projections.Target {
						return hot.NewHot(openBucket(t, nc, cfg), j, progress)
					},
					Get: func(t *testing.T, agent, key string) (readmodel.Entry, bool) {
						e, found, err := reader.Get(t.Context(), agent, key)
						if err != nil {
							t.Fatal(err)
						}
						return e, found
					},
					Keep: func(e readmodel.Entry) readmodel.Entry {
						e.Writer, e.UpdatedAt = "", time.Time{}
						return e
					},
				}
			})
		})
	}
}

// extendJournal appends n messages to a journal stream, so that it has the
// revisions that a test uses.
func extendJournal(t testing.TB, nc *nats.Conn, stream string, n int) {
	t.Helper()
	js, subject := support.JetStream(t, nc), support.Intake(t, nc, stream)+"filler"
	for i := range n {
		if _, err := js.PublishAsync(subject, nil); err != nil {
			t.Fatal(err)
		}
		if i%500 == 499 || i == n-1 {
			harness.Receive(t, "the journal's acks", harness.Closed(js.PublishAsyncComplete()))
		}
	}
}

// hotView is a hot view on a bucket, and a client's handles of the bucket.
type hotView struct {
	*hot.Hot
	t      *testing.T
	at     uint64
	stream jetstream.Stream
	kv     jetstream.KeyValue
	js     jetstream.JetStream
	server *embedded.Server
}

func newHotView(t *testing.T, cfg hot.BucketConfig) *hotView {
	t.Helper()
	server := support.NATS(t)
	nc := support.Engine(t, server)
	j, err := journal.Open(t.Context(), nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	extendJournal(t, nc, "EVENTS", 20)
	v := &hotView{Hot: hot.NewHot(openBucket(t, nc, cfg), j, projections.NewProgress(1)), t: t, js: support.JetStream(t, nc), server: server}
	if v.kv, err = v.js.KeyValue(t.Context(), cfg.Name); err != nil {
		t.Fatal(err)
	}
	if v.stream, err = v.js.Stream(t.Context(), "KV_"+cfg.Name); err != nil {
		t.Fatal(err)
	}
	return v
}

func hotEntry(key string, revision uint64) readmodel.Entry {
	return readmodel.Entry{
		Agent: "a1", Key: key, Value: fmt.Append(nil, revision), Timestamp: time.Unix(1, 2).UTC(), Version: revision, Revision: revision, Digest: "d",
	}
}

// apply applies the next event of a key.
func (v *hotView) apply(e readmodel.Entry, deleted bool) {
	v.t.Helper()
	c := projections.Changes{Entries: []readmodel.EntryChange{{Entry: e, Deleted: deleted}}}
	if err := v.Apply(v.t.Context(), 0, v.at, e.Revision, c); err != nil {
		v.t.Fatal(err)
	}
	v.at = e.Revision
}

func (v *hotView) fill(e readmodel.Entry) {
	v.t.Helper()
	if err := v.Fill(v.t.Context(), &e); err != nil {
		v.t.Fatal(err)
	}
}

// expect checks the revision of a key; 0 = no value.
func (v *hotView) expect(key string, revision uint64) {
	v.t.Helper()
	e, found, err := v.Get(v.t.Context(), "a1", key)
	if err != nil || found != (revision > 0) || e.Revision != revision {
		v.t.Errorf("%s is at %d, %t, %v; want %d", key, e.Revision, found, err, revision)
	}
}

// journalID returns the journal's id from the view's header.
func journalID(t *testing.T, v *hotView) string {
	t.Helper()
	id, _, ok := strings.Cut(v.Header().Get("Tidemark-Position"), " ")
	if !ok {
		t.Fatal(v.Header())
	}
	return id
}

// Any NATS client may get and watch the keys (wire contract, section 4).
func TestClientWatchesBucket(t *testing.T) {
	v := newHotView(t, smallBucket())
	w, err := v.kv.WatchAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Stop() }()
	if first := harness.Receive(t, "the end of the initial values", w.Updates()); first != nil {
		t.Errorf("%s", first.Value())
	}
	e := hotEntry("k.l", 1)
	v.apply(e, false)
	if got := harness.Receive(t, "a put", w.Updates()); got.Key() != "a1.k.l" || string(got.Value()) != string(e.EncodeKV()) || got.Operation() != jetstream.KeyValuePut {
		t.Errorf("%s %s %s", got.Operation(), got.Key(), got.Value())
	}
	v.apply(hotEntry("k.l", 2), true)
	if got := harness.Receive(t, "a deletion", w.Updates()); got.Key() != "a1.k.l" || got.Operation() != jetstream.KeyValueDelete {
		t.Errorf("%s %s", got.Operation(), got.Key())
	}
}

// TestUnfinishedRowsAreKept: the rows of an open session and an unfinished task outlive
// the TTL of their bucket, and no other ones.
func TestUnfinishedRowsAreKept(t *testing.T) {
	t.Parallel()
	v := newHotView(t, smallBucket())
	kinds := map[string][2]string{readmodel.KindTask: {"started", "completed"}, readmodel.KindSession: {"open", "closed"}}
	kvs := map[string]jetstream.KeyValue{}
	var c projections.Changes
	for kind, states := range kinds {
		cfg := hot.BucketConfig{Name: "TTL_" + kind, TTL: 6 * time.Second, History: 5}
		v.AddBucket(kind, openBucket(t, support.Engine(t, v.server), cfg))
		var err error
		kvs[kind], err = v.js.KeyValue(t.Context(), cfg.Name)
		harness.Must(t, err)
		for i, id := range []string{"goes-on", "over"} {
			c.Docs = append(c.Docs, readmodel.DocChange{Doc: readmodel.Doc{Kind: kind, ID: id, State: []byte(`{"status":"` + states[i] + `"}`), Version: 1, Revision: uint64(i + 1), Digest: "d"}})
		}
	}
	harness.Must(t, v.Apply(t.Context(), 0, 0, 2, c))
	harness.Eventually(t, "the rows of what is over lapse", func() bool {
		harness.Must(t, v.KeepUnfinished(t.Context()))
		lapsed := 0
		for kind, kv := range kvs {
			_, err := kv.Get(t.Context(), "goes-on")
			harness.Mustf(t, err, "%s that goes on", kind)
			if _, err := kv.Get(t.Context(), "over"); errors.Is(err, jetstream.ErrKeyNotFound) {
				lapsed++
			}
		}
		return lapsed == len(kvs)
	})
	for kind, kv := range kvs {
		row, err := kv.Get(t.Context(), "goes-on")
		if err != nil || !strings.Contains(string(row.Value()), kinds[kind][0]) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
