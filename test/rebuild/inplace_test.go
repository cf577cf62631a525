package rebuild

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestInPlace breaks keys of buckets, messages of a feed and archived events,
// and rebuilds the views they are of.
func TestInPlace(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, manual)
	c := e.Client(t)
	fill(t, c, 10)
	c.Level(t, 20*time.Second)
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

// operator is a connection with the engine's own rights.
func operator(t *testing.T, e *harness.Engine) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(e.Operator(t))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func healKV(t *testing.T, e *harness.Engine, c *harness.Client) {
	ctx := t.Context()
	kv, err := operator(t, e).KeyValue(ctx, "AGENT_STATE")
	if err != nil {
		t.Fatal(err)
	}
	watch, err := c.JS.KeyValue(ctx, "AGENT_STATE")
	if err != nil {
		t.Fatal(err)
	}
	// One changed with its revision as it was, one removed, one of nobody, one that claims the future.
	k1, err := kv.Get(ctx, "a.k1")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"a.k1": strings.Replace(string(k1.Value()), `"value":`, `"value":9`, 1), "nobody.k": string(k1.Value()),
		"a.k3": strings.Replace(string(k1.Value()), `"revision":`, `"revision":9`, 1),
	} {
		if _, err := kv.Put(ctx, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := kv.Purge(ctx, "a.k2"); err != nil {
		t.Fatal(err)
	}
	// Who watches sees what was right again and again, never that it is gone.
	w, err := watch.Watch(ctx, "b.*", jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
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
	if err := operator(t, e).DeleteKeyValue(t.Context(), "AGENT_STATE"); err != nil {
		t.Fatal(err)
	}
	if r := rebuild(t, e, "hot"); r.Rows != 20 {
		t.Errorf("%d rows differed", r.Rows)
	}
	c.MustSet(t, "a", "k5", "on", nil)
	c.CheckAll(t)
}

func healArchive(t *testing.T, e *harness.Engine, c *harness.Client) {
	sql := c.SQL(t)
	exec(t, sql, `DELETE FROM agents.events WHERE revision IN (3, 5)`)
	exec(t, sql, `UPDATE agents.events SET body = replace(body, '"value":', '"value":7') WHERE revision = 7`)
	if r := rebuild(t, e, "archive"); r.Rows != 3 {
		t.Errorf("%d rows differed: %v", r.Rows, r.Keys)
	}
	e.Verify()
}

// TestArchiveLost rebuilds the archive from nothing, and leaves no consumers
// on the journal: the server bounds them.
func TestArchiveLost(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Env: append(manual.Env, "TIDEMARK_AUDIT_RATE=0")})
	c := e.Client(t)
	fill(t, c, 760)
	c.Level(t, 30*time.Second)
	s, err := operator(t, e).Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	before := s.CachedInfo().State
	exec(t, c.SQL(t), `TRUNCATE agents.events`)
	if r := rebuild(t, e, "archive"); uint64(r.Rows) != before.Msgs || before.Msgs < 3000 {
		t.Errorf("%d of %d events differed", r.Rows, before.Msgs)
	}
	if r := e.Run("verify", "--sample", "200"); r.Code != 0 {
		t.Errorf("a sample: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	e.Verify()
	after, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.State.Consumers > before.Consumers {
		t.Errorf("the journal has %d consumers, it had %d", after.State.Consumers, before.Consumers)
	}
}

func healFeed(t *testing.T, e *harness.Engine, c *harness.Client) {
	ctx := t.Context()
	s, err := operator(t, e).Stream(ctx, "AGENT_STATE")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a.k1", "b.k2"} {
		if err := s.Purge(ctx, jetstream.WithPurgeSubject("agents.state."+key)); err != nil {
			t.Fatal(err)
		}
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

// A bucket's last message says that its rows were made by an older fold.
func upgradeHot(t *testing.T, e *harness.Engine, c *harness.Client) {
	ctx := t.Context()
	js := operator(t, e)
	s := c.Level(t, 20*time.Second)
	var status struct {
		Journal struct{ Incarnation string }
	}
	answer, err := c.Query(ctx, "queries.engine.status", nil)
	if err == nil {
		err = json.Unmarshal(answer, &status)
	}
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(ctx, "AGENT_STATE")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(ctx, "nobody.old", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	harness.Note(t, js, "$KV.AGENT_STATE.kv.position", map[string]string{"KV-Operation": "DEL",
		"Tidemark-Position": fmt.Sprintf("%s v=0 0=%d", status.Journal.Incarnation, s.View("hot").Position)})
	// The server acknowledges what such a bucket takes some milliseconds before
	// it writes it to the file.
	time.Sleep(250 * time.Millisecond)
	e.Kill()
	e.Restart()
	harness.Within(t, 30*time.Second, "the old fold's row is gone", func() error {
		kv, err := c.JS.KeyValue(context.WithoutCancel(ctx), "AGENT_STATE")
		if err != nil {
			return err
		}
		if _, err := kv.Get(ctx, "nobody.old"); err == nil {
			return fmt.Errorf("it is there")
		}
		if log := e.Log(); !strings.Contains(log, "the view is rebuilt; its old rows are served meanwhile") {
			return fmt.Errorf("no rebuild was told of")
		}
		return nil
	})
	c.Level(t, 30*time.Second)
}
