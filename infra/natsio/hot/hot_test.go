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

func TestFillNeverOverwrites(t *testing.T) {
	v := newHotView(t, smallBucket())
	v.fill(hotEntry("k", 3))
	v.expect("k", 3)
	v.fill(hotEntry("k", 9))
	v.expect("k", 3)
	v.apply(hotEntry("k", 5), false)
	v.fill(hotEntry("k", 3))
	v.fill(hotEntry("k", 9))
	v.expect("k", 5)
}

func TestFillAheadOfViewStays(t *testing.T) {
	v := newHotView(t, smallBucket())
	v.fill(hotEntry("k", 9))
	v.apply(hotEntry("k", 5), false)
	v.expect("k", 9)
	v.apply(hotEntry("k", 9), false)
	v.expect("k", 9)
	v.apply(hotEntry("k", 10), true)
	v.expect("k", 0)
}

func TestFillDoesNotRestoreDeletedKey(t *testing.T) {
	v := newHotView(t, smallBucket())
	v.apply(hotEntry("k", 1), false)
	v.apply(hotEntry("k", 2), true)
	v.fill(hotEntry("k", 1))
	v.expect("k", 0)
	v.apply(hotEntry("never", 3), true) // no value, but a fill may be in progress
	v.fill(hotEntry("never", 2))
	v.expect("never", 0)
	v.apply(hotEntry("k", 4), false)
	v.expect("k", 4)
}

func TestEvictedKeyIsFilledWithSameOrNewerRevision(t *testing.T) {
	v := newHotView(t, smallBucket())
	v.apply(hotEntry("k", 4), false)
	v.apply(hotEntry("gone", 5), true)
	other := hotEntry("k", 6)
	other.Agent = "a12"
	v.apply(other, false)
	evict := func() {
		t.Helper()
		if err := v.Evict(t.Context(), "a1"); err != nil {
			t.Fatal(err)
		}
		v.expect("k", 0)
	}
	evict()
	v.fill(hotEntry("k", 3))
	v.expect("k", 0)
	v.fill(hotEntry("k", 4))
	v.expect("k", 4)
	evict()
	v.apply(hotEntry("k", 7), false)
	v.expect("k", 7)
	evict()
	evict()                  // no keys left
	v.fill(hotEntry("k", 9)) // ahead of the view
	v.expect("k", 9)
	v.fill(hotEntry("gone", 4))
	v.expect("gone", 0)
	if e, found, err := v.Get(t.Context(), "a12", "k"); err != nil || !found || e.Revision != 6 {
		t.Errorf("another agent's key is at %d, %t, %v", e.Revision, found, err)
	}
}

// A rejected value removes the older one, and a concurrent fill does not restore
// that.
func TestFillDoesNotRestoreRejectedKey(t *testing.T) {
	cfg := smallBucket()
	cfg.MaxValueSize = 2000
	v := newHotView(t, cfg)
	v.apply(hotEntry("k", 1), false)
	big := hotEntry("k", 2)
	big.Value = []byte(`"` + strings.Repeat("v", 4000) + `"`)
	v.apply(big, false)
	v.expect("k", 0)
	v.fill(hotEntry("k", 1))
	v.expect("k", 0)
	v.apply(hotEntry("k", 3), false)
	v.expect("k", 3)
}

func TestFullBucketKeepsNoOldValue(t *testing.T) {
	cfg := smallBucket()
	cfg.MaxBytes, cfg.MaxValueSize, cfg.History = 64<<10, 32<<10, 1
	v := newHotView(t, cfg)
	fat := func(key string, revision uint64) readmodel.Entry {
		e := hotEntry(key, revision)
		// Random, so that compression does not free space.
		e.Value = []byte(`"` + strings.Repeat(nats.NewInbox()[7:], 700) + `"`)
		return e
	}
	for r := uint64(1); r <= 12; r++ {
		v.apply(fat(fmt.Sprint("k", r%4), r), false)
	}
	for r := uint64(9); r <= 12; r++ {
		if e, found, err := v.Get(t.Context(), "a1", fmt.Sprint("k", r%4)); err != nil || found && e.Revision != r {
			t.Errorf("k%d is at %d, %v; want %d or nothing", r%4, e.Revision, err, r)
		}
	}
	if full := v.Full(); !strings.Contains(full, "AGENT_STATE is full") {
		t.Errorf("a full bucket is not reported: %q", full)
	}
	larger := v.stream.CachedInfo().Config
	larger.MaxBytes = 1 << 20
	_, err := v.js.UpdateStream(t.Context(), larger)
	harness.Must(t, err)
	if err := v.Check(t.Context(), 0); err == nil || v.Full() != "" {
		t.Errorf("rows that a full bucket lacks are not put again when there is room: %v, %q", err, v.Full())
	}
	_, err = v.Load(t.Context(), 0, journalID(t, v))
	harness.Must(t, err)
	harness.Must(t, v.Check(t.Context(), 0))

}

// The next event of a key overwrites any value that another client wrote, whether
// the view had written the key before or not.
func TestForeignValueIsOverwritten(t *testing.T) {
	for what, body := range map[string]string{
		"no JSON": "garbage", "empty": "", "another shape": `{"value":1}`, "an array": `[]`, "a wrong revision": `{"value":1,"revision":"x"}`,
		"an older revision": `{"value":1,"revision":1}`, "a revision that is not in the journal": `{"value":1,"revision":9007199254740993}`,
	} {
		t.Run(what, func(t *testing.T) {
			v := newHotView(t, smallBucket())
			v.apply(hotEntry("known", 1), false)
			for _, key := range []string{"known", "unknown"} {
				if _, err := v.kv.Put(t.Context(), "a1."+key, []byte(body)); err != nil {
					t.Fatal(err)
				}
			}
			v.apply(hotEntry("known", 5), false)
			v.expect("known", 5)
			v.apply(hotEntry("unknown", 6), false)
			v.expect("unknown", 6)
			for _, key := range []string{"known", "unknown"} {
				if err := v.kv.Delete(t.Context(), "a1."+key); err != nil {
					t.Fatal(err)
				}
			}
			v.apply(hotEntry("known", 7), false)
			v.expect("known", 7)
			v.apply(hotEntry("unknown", 8), true)
			v.expect("unknown", 0)
		})
	}
}

func TestForeignValueIsNoAnswer(t *testing.T) {
	v := newHotView(t, smallBucket())
	if _, err := v.kv.PutString(t.Context(), "a1.k", "garbage"); err != nil {
		t.Fatal(err)
	}
	v.expect("k", 0)
}

// The view writes a key again that another client purged.
func TestPurgedKeyIsWrittenAgain(t *testing.T) {
	v := newHotView(t, smallBucket())
	v.apply(hotEntry("k", 1), false)
	if err := v.stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.expect("k", 0)
	v.apply(hotEntry("k", 2), false)
	v.expect("k", 2)
	if err := v.kv.Purge(t.Context(), "a1.k"); err != nil {
		t.Fatal(err)
	}
	v.expect("k", 0)
	v.apply(hotEntry("k", 3), false)
	v.expect("k", 3)
}

// A purge of some keys by another program is noticed; the view's own is none.
func TestAPartialPurgeIsNoticed(t *testing.T) {
	v := newHotView(t, smallBucket())
	end, err := v.FollowPurges(v.Purged)
	harness.Must(t, err)
	defer end()
	v.apply(hotEntry("kept", 1), false)
	v.apply(hotEntry("lost", 2), false)
	harness.Must(t, v.Check(t.Context(), 0))
	purge := func(name string) {
		nc := support.Engine(t, v.server, nats.Name(name))
		s, err := support.JetStream(t, nc).Stream(t.Context(), "KV_AGENT_STATE")
		harness.Must(t, err)
		harness.Must(t, s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.AGENT_STATE.a1.lost")))
	}
	purge("tidemark-views") // an engine's own
	harness.Must(t, v.Check(t.Context(), 0))
	purge("another-program")
	harness.Eventually(t, "the loss is noticed", func() bool { return v.Check(t.Context(), 0) != nil })
}

func TestExpiredKeysAreWrittenAgain(t *testing.T) {
	cfg := smallBucket()
	cfg.TTL = time.Second // the server's minimum
	v := newHotView(t, cfg)
	v.apply(hotEntry("k", 1), false)
	v.apply(hotEntry("gone", 2), true)
	harness.Eventually(t, "the keys expire", func() bool {
		info, err := v.stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
	v.expect("k", 0)
	v.apply(hotEntry("k", 3), false)
	v.expect("k", 3)
	v.apply(hotEntry("gone", 4), false)
	v.expect("gone", 4)
}

// Load fails if the bucket's position is invalid or belongs to another journal.
func TestForeignPositionIsRejected(t *testing.T) {
	for _, header := range []string{"x", "\u00a0", "another 0=5", "JOURNAL 0=x", "JOURNAL 0="} {
		v := newHotView(t, smallBucket())
		j := journalID(t, v)
		v.apply(hotEntry("k", 1), false)
		msg := nats.NewMsg("$KV.AGENT_STATE.a1.other")
		msg.Header.Set("Tidemark-Position", strings.Replace(header, "JOURNAL", j, 1))
		if _, err := v.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		if at, err := v.Load(t.Context(), 0, j); err == nil {
			t.Errorf("%q: at %d", header, at)
		}
		v.apply(hotEntry("k", 2), false)
		if at, err := v.Load(t.Context(), 0, j); err != nil || at > 2 {
			t.Errorf("%q, then a valid one: at %d, %v", header, at, err)
		}
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
