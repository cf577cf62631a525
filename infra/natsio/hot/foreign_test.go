package hot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

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
