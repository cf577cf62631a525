package views_test

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// restore rewrites the rows of aggregates in both tiers from the journal.
func (w *world) restore(streams ...events.AggregateName) {
	w.t.Helper()
	if err := hot.NewHot(w.bucket, w.journal, w.progress["hot"]).Restore(w.t.Context(), streams); err != nil {
		w.t.Error(err)
	}
	if err := durable.New(w.db, "durable").Restore(w.t.Context(), w.history, streams); err != nil {
		w.t.Error(err)
	}
}

// content returns all rows of both tiers.
func (w *world) content() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	kv := w.kv()
	keys, err := kv.ListKeys(w.t.Context())
	harness.Must(w.t, err)
	for key := range keys.Keys() {
		v, err := kv.Get(w.t.Context(), key)
		harness.Must(w.t, err)
		all["kv "+key] = string(v.Value())
	}
	for _, table := range []string{"state", "conflicts"} {
		var text string
		q := "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM agents." + table + " t"
		harness.Must(w.t, w.db.Pool().QueryRow(w.t.Context(), q).Scan(&text))
		all[table] = text
	}
	return all
}

func (w *world) kv() jetstream.KeyValue {
	w.t.Helper()
	kv, err := support.JetStream(w.t, w.nc).KeyValue(w.t.Context(), "AGENT_STATE")
	harness.Must(w.t, err)
	return kv
}

// TestRestore: Restore gives each row the state that the journal says, however
// it was changed.
func TestRestore(t *testing.T) {
	w := newWorld(t, 2)
	w.start("hot", "durable")
	var streams []events.AggregateName
	for agent := range 3 {
		for key := range 8 {
			a, k := fmt.Sprint("a", agent), fmt.Sprint("k.", key)
			w.set(a, k, "1")
			w.set(a, k, "2")
			streams = append(streams, events.StateEntry(a, k), events.EntryConflicts(a, k))
			for range 3 {
				if _, err := w.send(a, "set", fmt.Sprintf(`{"key":%q,"value":3,"strategy":"reject"}`, k)); err == nil {
					t.Fatal("a reject write over an entry went through")
				}
			}
		}
		w.del(fmt.Sprint("a", agent), "k.7")
	}
	w.caughtUp("hot", "durable")
	want := w.content()
	kv := w.kv()
	good, err := kv.Get(t.Context(), "a0.k.0")
	harness.Must(t, err)
	for key, value := range map[string]string{
		"a0.k.1": `{"value":9,"timestamp":"2026-01-02T03:04:05Z","agent_id":"a0","version":9,"revision":99999,"digest":"x"}`,
		"a0.k.2": "not JSON", "a0.k.3": "{}", "a1.k.7": string(good.Value()), "x.y": string(good.Value()), "lone": "1",
	} {
		if _, err := kv.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	harness.Must(t, kv.Delete(t.Context(), "a0.k.4"))
	harness.Must(t, kv.Purge(t.Context(), "a0.k.5"))
	for _, q := range []string{
		"UPDATE agents.state SET revision = 99999 WHERE agent_id = 'a0' AND state_key = 'k.1'",
		"UPDATE agents.state SET state_text = '9' WHERE agent_id = 'a0' AND state_key = 'k.2'",
		"UPDATE agents.state SET expires_at = now() WHERE agent_id = 'a0' AND state_key = 'k.3'",
		"DELETE FROM agents.state WHERE agent_id = 'a1' AND state_key = 'k.1'",
		"INSERT INTO agents.state SELECT 'a1', 'k.7', state_value, state_text, version, 99999, writer, timestamp, updated_at, NULL, digest, 0 FROM agents.state WHERE agent_id = 'a0' AND state_key = 'k.1'",
		"INSERT INTO agents.state SELECT 'x', 'y', state_value, state_text, version, revision, writer, timestamp, updated_at, NULL, digest, 0 FROM agents.state WHERE agent_id = 'a0' AND state_key = 'k.1'",
		"UPDATE agents.conflicts SET reason = 'x' WHERE agent_id = 'a0' AND state_key = 'k.1' AND version = 2",
		"DELETE FROM agents.conflicts WHERE agent_id = 'a0' AND state_key = 'k.2' AND version = 3",
		"DELETE FROM agents.conflicts WHERE agent_id = 'a2' AND state_key = 'k.3'",
		"UPDATE agents.conflicts SET version = version + 10 WHERE agent_id = 'a2' AND state_key = 'k.4'",
	} {
		w.exec(q)
	}
	if maps.Equal(w.content(), want) {
		t.Fatal("nothing was changed")
	}
	strange := []events.AggregateName{"agent.x.state.y", "agent.lone.state.", "agent.*.state.k", "weather.berlin", "nothing", streams[0]}
	w.restore(append(strange, streams...)...)
	for name, text := range w.content() {
		if text != want[name] {
			t.Errorf("%s is\n%s\nwant\n%s", name, text, want[name])
		}
	}
	before := w.sequence()
	w.restore(streams...)
	if after := w.sequence(); after != before {
		t.Errorf("restoring what is right wrote %d messages", after-before)
	}
	w.set("a0", "k.1", "5") // the views still apply newer events
	w.set("a1", "k.7", "5")
	w.caughtUp("hot", "durable")
	w.rows("hot")
	w.rows("durable")
}

// sequence returns the last sequence of the bucket.
func (w *world) sequence() uint64 {
	w.t.Helper()
	s, err := support.JetStream(w.t, w.nc).Stream(w.t.Context(), "KV_AGENT_STATE")
	harness.Must(w.t, err)
	return s.CachedInfo().State.LastSeq
}

// TestRestoreRacesTheViews: Restore runs beside the views, writers, and a
// client that changes rows. In the end all rows are right.
func TestRestoreRacesTheViews(t *testing.T) {
	w := newWorld(t, 1)
	w.start("hot", "durable")
	var streams []events.AggregateName
	for key := range 3 {
		w.set("a", fmt.Sprint("k", key), "0")
		streams = append(streams, events.StateEntry("a", fmt.Sprint("k", key)))
	}
	w.caughtUp("hot", "durable")
	kv := w.kv()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	loop := func(step func(i int)) {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					step(i)
				}
			}
		})
	}
	loop(func(i int) {
		if key := fmt.Sprint("k", i%3); i%7 == 0 {
			w.del("a", key)
		} else {
			w.set("a", key, fmt.Sprint(i))
		}
	})
	loop(func(i int) {
		if _, err := kv.PutString(t.Context(), fmt.Sprint("a.k", i%3), "changed"); err != nil {
			t.Error(err)
		}
		_ = wait.Sleep(t.Context(), time.Millisecond)
	})
	for range 60 {
		w.restore(streams...)
	}
	close(stop)
	writers.Wait()
	w.restore(streams...) // the rows that were changed last
	w.caughtUp("hot", "durable")
	w.rows("hot")
	w.rows("durable")
}
