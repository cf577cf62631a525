package queries

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func askCached(t *testing.T, c *harness.Client) {
	token := c.MustDo(t, "task.cached-1.create", M{"kind": "cached"}).Token
	list := func(more M) map[string]any {
		body := M{"kind": "cached"}
		for k, v := range more {
			body[k] = v
		}
		return ask(t, c, "tasks.list", body)
	}
	first := list(M{"max_age_ms": 250_000, "token": token})
	equal(t, "computed", first["source"], "sql")
	again := list(M{"max_age_ms": 250_000})
	equal(t, "kept", again["source"], "cache")
	equal(t, "the same rows", again["tasks"], first["tasks"])
	if age, ok := again["age_ms"].(float64); !ok || age < 0 || age > 250_000 {
		t.Errorf("age_ms is %v", again["age_ms"])
	}
	equal(t, "another page", list(M{"max_age_ms": 250_000, "limit": 1})["source"], "sql")
	equal(t, "the same question in other words", list(M{"max_age_ms": 249_000, "limit": 100, "wait_ms": 5})["source"], "cache")

	token = c.MustDo(t, "task.cached-2.create", M{"kind": "cached"}).Token
	count := func(got map[string]any) int { return len(got["tasks"].([]any)) }
	equal(t, "an old answer", count(list(M{"max_age_ms": 250_000})), 1)
	fresh := list(M{"token": token})
	equal(t, "never without max_age_ms", fresh["source"], "sql")
	equal(t, "new rows", count(fresh), 2)
	equal(t, "max_age_ms 0", list(M{"max_age_ms": 0})["source"], "sql")
	byToken := list(M{"token": token, "max_age_ms": 250_000})
	equal(t, "a token asks for more", byToken["source"], "sql")
	equal(t, "what a token computed is kept", count(list(M{"max_age_ms": 250_000})), 2)
	// A miss renews the cached answer, so one of the queries arrives a
	// millisecond after its expiry.
	harness.Eventually(t, "an answer is too old", func() error {
		if got := list(M{"max_age_ms": 1}); got["source"] != "sql" {
			return fmt.Errorf("%v after %v ms", got["source"], got["age_ms"])
		}
		return nil
	})
	for _, q := range []struct{ subject, list string }{
		{"agents.list", "agents"}, {"agent.lots.entries", "entries"}, {"config.c2.entries", "entries"}, {"message.me.inbox", "messages"},
	} {
		one := ask(t, c, q.subject, M{"max_age_ms": 200_000, "limit": 3})
		two := ask(t, c, q.subject, M{"max_age_ms": 200_000, "limit": 3})
		equal(t, q.subject+" source", two["source"], "cache")
		equal(t, q.subject+" rows", two[q.list], one[q.list])
		equal(t, q.subject+" cursor", two["cursor"], one["cursor"])
	}
	checkBucket(t, c.JS)
}

// checkBucket compares the bucket QUERY_CACHE with its topology.
func checkBucket(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	s, err := js.Stream(t.Context(), "KV_QUERY_CACHE")
	harness.Must(t, err)
	cfg := s.CachedInfo().Config
	if cfg.Storage != jetstream.MemoryStorage || cfg.MaxAge != 5*time.Minute || cfg.MaxMsgSize != 1<<20 ||
		cfg.MaxBytes != 256<<20 || cfg.Replicas != 1 || cfg.MaxMsgsPerSubject != 1 {
		t.Errorf("QUERY_CACHE is %+v", cfg)
	}
}

func TestCacheKeepsWhatFits(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	cache, err := hot.OpenQueryCache(t.Context(), nc, harness.Log(t))
	harness.Must(t, err)
	if _, _, found := cache.Get(t.Context(), "k"); found {
		t.Error("an empty cache has an answer")
	}
	at := time.Now().Add(-time.Minute).UTC()
	for size, want := range map[int]bool{2: true, 1<<20 - 1000: true, 1 << 20: false, 2 << 20: false} {
		key := fmt.Sprint("k", size)
		body := make([]byte, size)
		body[size-1] = '}'
		var got []byte
		var when time.Time
		ask := func() (found bool) { // the cache gives up after half a second
			cache.Put(t.Context(), key, body, at)
			got, when, found = cache.Get(t.Context(), key)
			return found
		}
		found := ask()
		if want && !found {
			harness.Eventually(t, fmt.Sprintf("%d bytes are found", size), ask)
			found = true
		}
		if found != want || found && (len(got) != size || !when.Equal(at)) {
			t.Errorf("%d bytes: found %v, %d bytes of %s", size, found, len(got), when)
		}
	}
	// Opening an existing bucket does not change it.
	if _, err := hot.OpenQueryCache(t.Context(), nc, harness.Log(t)); err != nil {
		t.Error(err)
	}
	checkBucket(t, support.JetStream(t, nc))
}
