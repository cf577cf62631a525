package rebuild

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestReset damages keys of buckets, messages of a feed and archived events,
// and rebuilds their views.
func TestReset(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, manual)
	c := e.Client(t)
	fill(t, c, 10)
	c.CaughtUp(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *harness.Engine, *harness.Client)
	}{
		{"hot", healKV}, {"a lost bucket", refillBucket}, {"archive", healArchive}, {"feeds", healFeed}, {"version of the hot view", upgradeHot},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, e, c) })
	}
	c.CheckAll(t)
	e.Verify()
}

func healKV(t *testing.T, e *harness.Engine, c *harness.Client) {
	ctx := t.Context()
	kv, err := e.OperatorJetStream(t).KeyValue(ctx, "AGENT_STATE")
	harness.Must(t, err)
	watch, err := c.JS.KeyValue(ctx, "AGENT_STATE")
	harness.Must(t, err)
	// One is changed at its old revision, one removed, one has no aggregate,
	// one has a revision beyond the head.
	k1, err := kv.Get(ctx, "a.k1")
	harness.Must(t, err)
	for key, value := range map[string]string{
		"a.k1": strings.Replace(string(k1.Value()), `"value":`, `"value":9`, 1), "absent.k": string(k1.Value()),
		"a.k3": strings.Replace(string(k1.Value()), `"revision":`, `"revision":9`, 1),
	} {
		if _, err := kv.Put(ctx, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	harness.Must(t, kv.Purge(ctx, "a.k2"))
	// A watch sees each right value again, and never a deletion of one.
	w, err := watch.Watch(ctx, "b.*", jetstream.UpdatesOnly())
	harness.Must(t, err)
	r := rebuild(t, e, "hot")
	if r.Rows != 4 || len(r.Keys) != 4 {
		t.Errorf("%d rows differed: %v", r.Rows, r.Keys)
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	for v := range w.Updates() {
		t.Errorf("%s was touched: %v", v.Key(), v.Operation())
	}
	if r := rebuild(t, e, "hot"); r.Rows != 0 {
		t.Errorf("a second time %d rows differed: %v", r.Rows, r.Keys)
	}
	c.CheckAll(t)
}

func refillBucket(t *testing.T, e *harness.Engine, c *harness.Client) {
	harness.Must(t, e.OperatorJetStream(t).DeleteKeyValue(t.Context(), "AGENT_STATE"))
	if r := rebuild(t, e, "hot"); r.Rows > 20 { // the engine may have filled it already
		t.Errorf("%d rows differed", r.Rows)
	}
	c.MustSet(t, "a", "k5", "on", nil)
	c.CheckAll(t)
}

func healArchive(t *testing.T, e *harness.Engine, c *harness.Client) {
	sql := c.SQL(t)
	harness.Exec(t, sql, `UPDATE agents.events SET body = replace(body, '"value":', '"value":7')
		WHERE revision = (SELECT min(revision) FROM agents.events WHERE revision > 5 AND body LIKE '%"value":%')`)
	if r := rebuild(t, e, "archive"); r.Rows != 1 {
		t.Errorf("%d rows differed: %v", r.Rows, r.Keys)
	}
	// The engine restores missing rows by itself, perhaps before the rebuild, and others with them.
	harness.Exec(t, sql, `DELETE FROM agents.events WHERE revision IN (3, 5)`)
	if r := rebuild(t, e, "archive"); r.Rows > 2 {
		t.Errorf("%d rows differed: %v", r.Rows, r.Keys)
	}
	e.Verify()
}

// TestArchiveLost rebuilds an empty archive, and checks that no consumer stays
// on the journal: the server bounds their number.
func TestArchiveLost(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Env: append(manual.Env, "TIDEMARK_AUDIT_RATE=0")})
	c := e.Client(t)
	fill(t, c, 760)
	c.CaughtUp(t)
	s, err := e.OperatorJetStream(t).Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	before := s.CachedInfo().State
	harness.Exec(t, c.SQL(t), `TRUNCATE agents.events`)
	// The engine restores the rows by itself, perhaps before the rebuild.
	if r := rebuild(t, e, "archive"); uint64(r.Rows) > before.Msgs || before.Msgs < 3000 {
		t.Errorf("%d of %d events differed", r.Rows, before.Msgs)
	}
	if r := e.Run("verify", "--sample", "200"); r.Code != 0 {
		t.Errorf("a sample: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	e.Verify()
	after, err := s.Info(t.Context())
	harness.Must(t, err)
	if after.State.Consumers > before.Consumers {
		t.Errorf("the journal has %d consumers, it had %d", after.State.Consumers, before.Consumers)
	}
}

func healFeed(t *testing.T, e *harness.Engine, c *harness.Client) {
	ctx := t.Context()
	s, err := e.OperatorJetStream(t).Stream(ctx, "AGENT_STATE")
	harness.Must(t, err)
	for _, key := range []string{"a.k1", "b.k2"} {
		harness.Must(t, s.Purge(ctx, jetstream.WithPurgeSubject("agents.state."+key)))
	}
	if r := rebuild(t, e, "feeds"); r.Rows != 4 {
		t.Errorf("%d messages were missing: %v", r.Rows, r.Keys)
	}
	var revisions []uint64
	for _, key := range []string{"a.k1", "b.k2"} {
		msg, err := s.GetLastMsgForSubject(ctx, "agents.state."+key)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		var ev struct{ Version uint64 }
		if err := json.Unmarshal(msg.Data, &ev); err != nil || ev.Version != 2 {
			t.Errorf("the last message of %s is %s", key, msg.Data)
		}
		revisions = append(revisions, msg.Sequence)
	}
	if r := rebuild(t, e, "feeds"); r.Rows != 0 {
		t.Errorf("a second time %d messages were missing, after %v", r.Rows, revisions)
	}
}

// upgradeHot: the last message of the bucket says that an older version of the
// fold made its rows; the start rebuilds them.
func upgradeHot(t *testing.T, e *harness.Engine, c *harness.Client) {
	ctx := t.Context()
	js := e.OperatorJetStream(t)
	s := c.CaughtUp(t)
	var status struct {
		Journal struct{ Incarnation string }
	}
	answer, err := c.Query(ctx, "queries.engine.status", nil)
	if err == nil {
		err = json.Unmarshal(answer, &status)
	}
	harness.Must(t, err)
	kv, err := js.KeyValue(ctx, "AGENT_STATE")
	harness.Must(t, err)
	if _, err := kv.Put(ctx, "absent.old", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	position := fmt.Sprintf("%s v=0 0=%d", status.Journal.Incarnation, s.View("hot").Position)
	harness.PublishEmpty(t, js, "$KV.AGENT_STATE.kv.position", map[string]string{"KV-Operation": "DEL", "Tidemark-Position": position})
	// The server acknowledges a message of such a bucket before it writes it.
	harness.Eventually(t, "the position is in the bucket's file", func() bool { return stored(t, e, "KV_AGENT_STATE", position) })
	e.Kill()
	e.Restart()
	harness.Eventually(t, "the old fold's row is gone", func() error {
		kv, err := c.JS.KeyValue(context.WithoutCancel(ctx), "AGENT_STATE")
		if err != nil {
			return err
		}
		if _, err := kv.Get(ctx, "absent.old"); err == nil {
			return fmt.Errorf("it is there")
		}
		if log := e.Log(); !strings.Contains(log, "rebuilding the view in the background; its old rows are served meanwhile") {
			return fmt.Errorf("the log reports no rebuild")
		}
		return nil
	})
	c.CaughtUp(t)
}

// stored reports whether a file of a stream contains a text.
func stored(t *testing.T, e *harness.Engine, stream, text string) bool {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(e.Data, "nats", "jetstream", "*", "streams", stream, "msgs", "*.blk"))
	harness.Must(t, err)
	for _, block := range blocks {
		body, err := os.ReadFile(block)
		harness.Must(t, err)
		if strings.Contains(string(body), text) {
			return true
		}
	}
	return false
}
