package hot_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/projectionstest"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// small is the seed's bucket without its reservation.
func small() hot.BucketConfig {
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
		lengthen(t, nc, natsio.StreamName(p, 3), 5000)
	}
	buckets := 0
	for name, history := range map[string]int64{"the seed's history": 3, "no history": 1} {
		t.Run(name, func(t *testing.T) {
			projectionstest.Target(t, func(t *testing.T) projectionstest.Store {
				buckets++
				cfg := small()
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

// lengthen makes a journal n messages long, so that it has the revisions that a
// test speaks of.
func lengthen(t testing.TB, nc *nats.Conn, stream string, n int) {
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

// hotView is a hot view on a bucket, and the bucket as a client has it.
type hotView struct {
	*hot.Hot
	t      *testing.T
	at     uint64
	stream jetstream.Stream
	kv     jetstream.KeyValue
	js     jetstream.JetStream
}

func newHotView(t *testing.T, cfg hot.BucketConfig) *hotView {
	t.Helper()
	nc := support.Engine(t, support.NATS(t))
	j, err := journal.Open(t.Context(), nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	lengthen(t, nc, "EVENTS", 20)
	v := &hotView{Hot: hot.NewHot(openBucket(t, nc, cfg), j, projections.NewProgress(1)), t: t, js: support.JetStream(t, nc)}
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

// pass applies the next event on a key.
func (v *hotView) pass(e readmodel.Entry, deleted bool) {
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

// is expects a revision under a key, 0 = none.
func (v *hotView) is(key string, revision uint64) {
	v.t.Helper()
	e, found, err := v.Get(v.t.Context(), "a1", key)
	if err != nil || found != (revision > 0) || e.Revision != revision {
		v.t.Errorf("%s is at %d, %t, %v; want %d", key, e.Revision, found, err, revision)
	}
}

func TestFillNeverOverwrites(t *testing.T) {
	v := newHotView(t, small())
	v.fill(hotEntry("k", 3))
	v.is("k", 3)
	v.fill(hotEntry("k", 9))
	v.is("k", 3)
	v.pass(hotEntry("k", 5), false)
	v.fill(hotEntry("k", 3))
	v.fill(hotEntry("k", 9))
	v.is("k", 5)
}

func TestAFillAheadOfTheViewStays(t *testing.T) {
	v := newHotView(t, small())
	v.fill(hotEntry("k", 9))
	v.pass(hotEntry("k", 5), false)
	v.is("k", 9)
	v.pass(hotEntry("k", 9), false)
	v.is("k", 9)
	v.pass(hotEntry("k", 10), true)
	v.is("k", 0)
}

func TestAFillDoesNotBringBackWhatIsDeleted(t *testing.T) {
	v := newHotView(t, small())
	v.pass(hotEntry("k", 1), false)
	v.pass(hotEntry("k", 2), true)
	v.fill(hotEntry("k", 1))
	v.is("k", 0)
	v.pass(hotEntry("never", 3), true) // nothing there, but a fill may be under way
	v.fill(hotEntry("never", 2))
	v.is("never", 0)
	v.pass(hotEntry("k", 4), false)
	v.is("k", 4)
}

func TestEvictedKeysComeBackAsNewAsTheyWere(t *testing.T) {
	v := newHotView(t, small())
	v.pass(hotEntry("k", 4), false)
	v.pass(hotEntry("gone", 5), true)
	other := hotEntry("k", 6)
	other.Agent = "a12"
	v.pass(other, false)
	evict := func() {
		t.Helper()
		if err := v.Evict(t.Context(), "a1"); err != nil {
			t.Fatal(err)
		}
		v.is("k", 0)
	}
	evict()
	v.fill(hotEntry("k", 3))
	v.is("k", 0)
	v.fill(hotEntry("k", 4))
	v.is("k", 4)
	evict()
	v.pass(hotEntry("k", 7), false)
	v.is("k", 7)
	evict()
	evict()                  // nothing left
	v.fill(hotEntry("k", 9)) // ahead of the view
	v.is("k", 9)
	v.fill(hotEntry("gone", 4))
	v.is("gone", 0)
	if e, found, err := v.Get(t.Context(), "a12", "k"); err != nil || !found || e.Revision != 6 {
		t.Errorf("another agent's key is at %d, %t, %v", e.Revision, found, err)
	}
}

// What a bucket cannot hold leaves no older value behind, not even one that a
// reader was about to fill in.
func TestAFillDoesNotBringBackWhatABucketRefused(t *testing.T) {
	cfg := small()
	cfg.MaxValueSize = 2000
	v := newHotView(t, cfg)
	v.pass(hotEntry("k", 1), false)
	big := hotEntry("k", 2)
	big.Value = []byte(`"` + strings.Repeat("v", 4000) + `"`)
	v.pass(big, false)
	v.is("k", 0)
	v.fill(hotEntry("k", 1))
	v.is("k", 0)
	v.pass(hotEntry("k", 3), false)
	v.is("k", 3)
}

func TestAFullBucketKeepsNoOldValue(t *testing.T) {
	cfg := small()
	cfg.MaxBytes, cfg.MaxValueSize, cfg.History = 64<<10, 32<<10, 1
	v := newHotView(t, cfg)
	fat := func(key string, revision uint64) readmodel.Entry {
		e := hotEntry(key, revision)
		// Random enough that compression does not make room.
		e.Value = []byte(`"` + strings.Repeat(nats.NewInbox()[7:], 700) + `"`)
		return e
	}
	for r := uint64(1); r <= 12; r++ {
		v.pass(fat(fmt.Sprint("k", r%4), r), false)
	}
	for r := uint64(9); r <= 12; r++ {
		if e, found, err := v.Get(t.Context(), "a1", fmt.Sprint("k", r%4)); err != nil || found && e.Revision != r {
			t.Errorf("k%d is at %d, %v; want %d or nothing", r%4, e.Revision, err, r)
		}
	}
}

// Whatever somebody writes into the bucket by hand, the next event on the key
// puts it right, whether the view had written the key before or not.
func TestGarbageIsOverwritten(t *testing.T) {
	for what, body := range map[string]string{
		"no JSON": "garbage", "nothing": "", "another shape": `{"value":1}`, "an array": `[]`, "a wrong revision": `{"value":1,"revision":"x"}`,
		"an older revision": `{"value":1,"revision":1}`, "a revision that the journal has not": `{"value":1,"revision":9007199254740993}`,
	} {
		t.Run(what, func(t *testing.T) {
			v := newHotView(t, small())
			v.pass(hotEntry("known", 1), false)
			for _, key := range []string{"known", "unknown"} {
				if _, err := v.kv.Put(t.Context(), "a1."+key, []byte(body)); err != nil {
					t.Fatal(err)
				}
			}
			v.pass(hotEntry("known", 5), false)
			v.is("known", 5)
			v.pass(hotEntry("unknown", 6), false)
			v.is("unknown", 6)
			for _, key := range []string{"known", "unknown"} {
				if err := v.kv.Delete(t.Context(), "a1."+key); err != nil {
					t.Fatal(err)
				}
			}
			v.pass(hotEntry("known", 7), false)
			v.is("known", 7)
			v.pass(hotEntry("unknown", 8), true)
			v.is("unknown", 0)
		})
	}
}

func TestGarbageIsNoAnswer(t *testing.T) {
	v := newHotView(t, small())
	if _, err := v.kv.PutString(t.Context(), "a1.k", "garbage"); err != nil {
		t.Fatal(err)
	}
	v.is("k", 0)
}

// A key that was purged or has expired under the view is written again.
func TestAKeyThatWentAwayIsWrittenAgain(t *testing.T) {
	v := newHotView(t, small())
	v.pass(hotEntry("k", 1), false)
	if err := v.stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.is("k", 0)
	v.pass(hotEntry("k", 2), false)
	v.is("k", 2)
	if err := v.kv.Purge(t.Context(), "a1.k"); err != nil {
		t.Fatal(err)
	}
	v.is("k", 0)
	v.pass(hotEntry("k", 3), false)
	v.is("k", 3)
}

func TestExpiredKeysAreWrittenAgain(t *testing.T) {
	cfg := small()
	cfg.TTL = time.Second // the server's least
	v := newHotView(t, cfg)
	v.pass(hotEntry("k", 1), false)
	v.pass(hotEntry("gone", 2), true)
	harness.Eventually(t, "the keys expire", func() bool {
		info, err := v.stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
	v.is("k", 0)
	v.pass(hotEntry("k", 3), false)
	v.is("k", 3)
	v.pass(hotEntry("gone", 4), false)
	v.is("gone", 4)
}

// The position is in the bucket itself. One that cannot be ours is said, and
// does not end the program.
func TestAForeignPositionIsRefused(t *testing.T) {
	for _, header := range []string{"x", "\u00a0", "another 0=5", "JOURNAL 0=x", "JOURNAL 0="} {
		v := newHotView(t, small())
		j := journalID(t, v)
		v.pass(hotEntry("k", 1), false)
		msg := nats.NewMsg("$KV.AGENT_STATE.a1.other")
		msg.Header.Set("Tidemark-Position", strings.Replace(header, "JOURNAL", j, 1))
		if _, err := v.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		if at, err := v.Load(t.Context(), 0, j); err == nil {
			t.Errorf("%q: at %d", header, at)
		}
		v.pass(hotEntry("k", 2), false)
		if at, err := v.Load(t.Context(), 0, j); err != nil || at > 2 {
			t.Errorf("%q, then one of ours: at %d, %v", header, at, err)
		}
	}
}

// journalID is the id in the view's own header.
func journalID(t *testing.T, v *hotView) string {
	t.Helper()
	id, _, ok := strings.Cut(v.Header().Get("Tidemark-Position"), " ")
	if !ok {
		t.Fatal(v.Header())
	}
	return id
}

// Any client of NATS may get and watch what is there (contract, section 4).
func TestTheBucketIsAnOrdinaryOne(t *testing.T) {
	v := newHotView(t, small())
	w, err := v.kv.WatchAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Stop() }()
	if first := harness.Receive(t, "the end of what is there", w.Updates()); first != nil {
		t.Errorf("%s", first.Value())
	}
	e := hotEntry("k.l", 1)
	v.pass(e, false)
	if got := harness.Receive(t, "a put", w.Updates()); got.Key() != "a1.k.l" || string(got.Value()) != string(e.EncodeKV()) || got.Operation() != jetstream.KeyValuePut {
		t.Errorf("%s %s %s", got.Operation(), got.Key(), got.Value())
	}
	v.pass(hotEntry("k.l", 2), true)
	if got := harness.Receive(t, "a deletion", w.Updates()); got.Key() != "a1.k.l" || got.Operation() != jetstream.KeyValueDelete {
		t.Errorf("%s %s", got.Operation(), got.Key())
	}
}
