package scale

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestRebuildUnderLoad rebuilds both tiers while one client writes and eight
// read: no read fails or is older than one before, no key leaves the bucket, no
// row leaves SQL, and verify finds no difference afterwards.
func TestRebuildUnderLoad(t *testing.T) {
	events, entries := size(t, "EVENTS", 3_000), size(t, "AGGREGATES", 300)
	e := harness.Start(t, harness.Config{Args: []string{"--durability", "relaxed", "--lifecycle", "manual"}})
	m := model{entries: entries / 8 * 8}
	m.fill(t, e, events)
	nc := e.Client(t)
	nc.CaughtUpWithin(t, 10*time.Minute)
	gone := watchGone(t, nc)
	rows := countRows(t, nc)
	tr := start(t, e, m, 8, 5*time.Millisecond)
	for _, view := range []string{"durable", "hot"} {
		began := time.Now()
		r := harness.RunWithin(t, 20*time.Minute, nil, "rebuild", view, "--data", e.Data)
		if r.Code != 0 {
			t.Errorf("engine rebuild %s ended with %d:\n%s%s", view, r.Code, r.Stdout, r.Stderr)
		}
		t.Logf("engine rebuild %s of %d events, %d aggregates: %.1f s\n%s", view, events, m.entries, time.Since(began).Seconds(), strings.TrimSpace(r.Stdout))
	}
	tr.stop(t)
	if now := countRows(t, nc); now < rows {
		t.Errorf("agents.state had %d rows, now %d", rows, now)
	}
	if keys := gone(); len(keys) > 0 {
		t.Errorf("keys left the bucket: %v", keys)
	}
	began := time.Now()
	r := harness.RunWithin(t, 20*time.Minute, nil, "verify", "--data", e.Data)
	if r.Code != 0 {
		t.Errorf("engine verify ended with %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	t.Logf("engine verify: %.1f s\n%s", time.Since(began).Seconds(), strings.TrimSpace(r.Stdout))
}

// watchGone watches the bucket. The returned function lists the keys that were
// deleted or purged since; nothing deletes in these tests.
func watchGone(t *testing.T, nc *harness.Client) func() []string {
	kv, err := nc.JS.KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	w, err := kv.WatchAll(t.Context(), jetstream.UpdatesOnly(), jetstream.MetaOnly())
	harness.Must(t, err)
	keys := make(chan []string, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		var gone []string
		defer func() { keys <- gone }()
		for {
			select {
			case <-ctx.Done():
				return
			case v := <-w.Updates():
				if v != nil && v.Operation() != jetstream.KeyValuePut && v.Key() != "kv.position" && len(gone) < 10 {
					gone = append(gone, v.Key())
				}
			}
		}
	}()
	return func() []string {
		cancel()
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		return <-keys
	}
}

func countRows(t *testing.T, nc *harness.Client) (n int) {
	harness.Must(t, nc.SQL(t).QueryRow(t.Context(), `SELECT count(*) FROM agents.state`).Scan(&n))
	return n
}
