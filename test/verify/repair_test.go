package verify_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// fill writes three aggregates of each kind; the entry k.0 of agent m1 has a
// long history.
func (w *world) fill() {
	w.t.Helper()
	for i := range 3 {
		id := fmt.Sprint("m", i)
		w.c.MustDo(w.t, "task."+id+".create", M{"kind": "k", "payload": M{"n": 1e3}, "priority": 3})
		w.c.MustDo(w.t, "task."+id+".start", M{"agent_id": "w"})
		w.c.MustDo(w.t, "session."+id+".open", M{"owner": "ann"})
		w.c.MustDo(w.t, "config."+id+".set", M{"key": "a.b", "value": []any{1, nil}})
		for k := range 4 {
			key := fmt.Sprint("k.", k)
			w.c.MustSet(w.t, id, key, M{"n": k}, nil)
			w.c.MustSet(w.t, id, key, M{"n": k + 1}, nil)
			for range 2 {
				if _, err := w.c.Set(w.t.Context(), id, key, 2, M{"strategy": "reject"}); harness.Refused(err) == nil {
					w.t.Fatalf("a second reject write: %v", err)
				}
			}
		}
		w.c.MustDo(w.t, "agent."+id+".delete", M{"key": "k.3"})
		w.c.MustDo(w.t, "agent.l"+id+".hydrate", nil)
	}
}

// TestRepair: verify names each changed row with exit code 1 and repairs it
// from the journal, and the next run passes. Differences that cannot be
// repaired are named again.
func TestRepair(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.fill()
	w.c.CaughtUp(t)
	if r := w.verify(); r.Code != 0 || r.Archive == nil || r.Archive.Rows != r.Archive.Equal || r.Archive.Rows < 60 {
		t.Fatalf("before any change: %+v %+v", r.Differences, r.Archive)
	}
	changed := append(w.changeSQL(), w.changeKV()...)
	changed = append(changed, w.changeArchive()...)
	w.expect("verify", w.verify().Differences, changed...)
	sample := w.verify("--sample", "1000")
	w.expect("a sample of all", sample.Differences, changed...)
	if sample.Sample == nil || sample.Sample.Checked < 30 || len(sample.Sample.Unsettled) > 0 {
		t.Errorf("%+v", sample.Sample)
	}
	r := w.verify("--repair")
	w.expect("not repaired", r.Differences)
	w.expect("repaired", r.Repaired, changed...)
	for _, args := range [][]string{{"--repair"}, {"--repair", "--sample", "1000"}} {
		if r := w.verify(args...); len(r.Differences) > 0 || len(r.Repaired) > 0 {
			t.Errorf("verify %v after the repair: %+v %+v", args, r.Differences, r.Repaired)
		}
	}
	w.c.MustSet(t, "m0", "k.0", 9, nil) // the views apply later events to repaired rows
	w.c.MustDo(w.t, "task.m0.complete", nil)
	w.c.CaughtUp(t)
	w.expect("verify after more", w.verify().Differences)
	w.messages()
	w.trimmed()
	w.missing()
	w.forged()
}

// messages: their rows are folded again. Samples leave them out.
func (w *world) messages() {
	for _, id := range []string{"lost", "changed", "kept"} {
		_, err := w.c.Command(w.t.Context(), "commands.message.m0.direct", id, M{"to": "m1", "body": id})
		harness.Must(w.t, err)
	}
	w.c.CaughtUp(w.t)
	w.exec("DELETE FROM agents.messages WHERE message_id = 'lost'")
	w.exec("UPDATE agents.messages SET recipient = 'm2' WHERE message_id = 'changed'")
	w.exec(`INSERT INTO agents.messages SELECT 'ghost', kind, sender, recipient, type, body, body_text, sequence, sent_at, stored_at, digest
		FROM agents.messages WHERE message_id = 'kept'`)
	changed := []string{"sql message m0.lost", "sql message m0.changed", "sql message m0.ghost"}
	w.expect("changed messages", w.verify().Differences, changed...)
	r := w.verify("--repair")
	w.expect("messages left", r.Differences)
	w.expect("messages repaired", r.Repaired, changed...)
}

func (w *world) changeSQL() []string {
	for _, q := range []string{
		"UPDATE agents.state SET state_text = '9', state_value = '9' WHERE agent_id = 'm0' AND state_key = 'k.0'",
		"UPDATE agents.state SET digest = 'x' WHERE agent_id = 'm0' AND state_key = 'k.1'",
		"UPDATE agents.state SET revision = revision + 100000 WHERE agent_id = 'm0' AND state_key = 'k.2'",
		"UPDATE agents.state SET state_text = 'no JSON' WHERE agent_id = 'm1' AND state_key = 'k.1'",
		"DELETE FROM agents.state WHERE agent_id = 'm1' AND state_key = 'k.0'",
		`INSERT INTO agents.state SELECT 'ghost', 'k', state_value, state_text, version, revision, writer, timestamp, updated_at, NULL, digest, 0
			FROM agents.state WHERE agent_id = 'm0' AND state_key = 'k.0'`,
		"UPDATE agents.conflicts SET reason = 'because' WHERE agent_id = 'm1' AND state_key = 'k.1' AND version = 1",
		"DELETE FROM agents.conflicts WHERE agent_id = 'm2' AND state_key = 'k.1' AND version = 2",
		"UPDATE agents.tasks SET priority = 7 WHERE task_id = 'm1'",
		"UPDATE agents.tasks SET state_text = '{' WHERE task_id = 'm2'",
		"UPDATE agents.sessions SET version = 5 WHERE session_id = 'm1'",
		"UPDATE agents.config SET config_value = '2' WHERE agent_id = 'm1'",
		"UPDATE agents.lifecycle SET phase = 'cold' WHERE agent_id = 'lm1'",
	} {
		w.exec(q)
	}
	return []string{
		"sql m0.k.0", "sql m0.k.1", "sql m0.k.2", "sql m1.k.1", "sql m1.k.0", "sql ghost.k", "sql conflict m1.k.1",
		"sql conflict m2.k.1", "sql task m1", "sql task m2", "sql session m1", "sql config m1.a.b", "sql lifecycle lm1",
	}
}

func (w *world) changeKV() []string {
	t := w.t
	entries, ctx := w.kv("AGENT_STATE"), t.Context()
	good, err := entries.Get(ctx, "m0.k.0")
	harness.Must(t, err)
	for key, value := range map[string]string{
		"m0.k.1": `{"value":9,"timestamp":"2026-01-02T03:04:05Z","agent_id":"m0","version":9,"revision":99999,"digest":"x"}`,
		"m0.k.2": "no JSON", "m2.k.3": string(good.Value()), "ghost.k": string(good.Value()),
	} {
		if _, err := entries.PutString(ctx, key, value); err != nil {
			t.Fatal(err)
		}
	}
	harness.Must(t, entries.Delete(ctx, "m1.k.1"))
	harness.Must(t, w.kv("TASK_STATE").Purge(ctx, "m0"))
	if _, err := w.kv("AGENT_CONFIG").PutString(ctx, "m0.a.b", "{}"); err != nil {
		t.Fatal(err)
	}
	return []string{"kv m0.k.1", "kv m0.k.2", "kv m2.k.3", "kv ghost.k", "kv m1.k.1", "kv task m0", "kv config m0.a.b"}
}

func (w *world) changeArchive() []string {
	for _, q := range []string{
		"UPDATE agents.events SET body = replace(body, '\"n\":1', '\"n\":8') WHERE stream = 'agent.m0.state.k.1' AND version = 1",
		"UPDATE agents.events SET command_id = 'other' WHERE stream = 'task.m0' AND version = 1", // one column
		"UPDATE agents.events SET command_id = 'other' WHERE stream = 'session.m0'",
		"UPDATE agents.events SET body = 'torn' WHERE stream = 'config.m0.a.b'",
		`INSERT INTO agents.events SELECT revision, version, timestamp, recorded_at + interval '1 s', partition, schema, recorded_ns,
			stream, aggregate, id, key, type, writer, command_id, digest, body, raw FROM agents.events WHERE stream = 'session.m1'`,
	} {
		w.exec(q)
	}
	return []string{
		"archive agent.m0.state.k.1", "archive task.m0", "archive session.m0", "archive config.m0.a.b", "archive session.m1",
	}
}

// trimmed: trimmed events are compared through the archive, which is their only
// copy.
func (w *world) trimmed() {
	t := w.t
	js := w.OperatorJetStream(w.t)
	cfg := w.journal().CachedInfo().Config
	cfg.Metadata["tidemark.trimmed"] = strconv.FormatUint(w.revision("agent.m1.state.k.0", 1), 10)
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	w.takeOut("agent.m1.state.k.0")
	w.expect("a sample of a trimmed journal", w.verify("--sample", "1000").Differences)
	w.exec("UPDATE agents.events SET body = replace(body, '\"n\":0', '\"n\":8') WHERE stream = 'agent.m1.state.k.0' AND version = 1")
	r := w.verify("--repair")
	w.expect("it cannot be repaired", r.Differences, "archive agent.m1.state.k.0")
	w.expect("nothing was", r.Repaired)
	w.exec("UPDATE agents.events SET body = replace(body, '\"n\":8', '\"n\":0') WHERE stream = 'agent.m1.state.k.0' AND version = 1")
	w.expect("it was put back", w.verify().Differences)
}

// missing: an event that was removed from the journal without a trim.
func (w *world) missing() {
	t := w.t
	first := w.takeOut("agent.m2.state.k.0")
	for _, args := range [][]string{{"--sample", "1000"}, {"--repair"}} {
		r := w.verify(args...)
		w.expect(fmt.Sprint("verify ", args), r.Differences, "journal agent.m2.state.k.0")
		if len(r.Differences) > 0 && r.Differences[0].Revision != first {
			t.Errorf("%+v, want revision %d", r.Differences, first)
		}
	}
	want := []string{"journal agent.m2.state.k.0", "journal partition 0"}
	harness.Eventually(t, "it is missing from the archive too", func() error { // the engine may still restore what it read before
		harness.Exec(t, w.sql, "DELETE FROM agents.events WHERE stream = 'agent.m2.state.k.0' AND version = 1")
		if got := names(w.verify().Differences); !slices.Equal(got, want) {
			return fmt.Errorf("verify names %q, want %q", got, want)
		}
		return nil
	})
}

// forged: an event whose digest does not follow from the one before.
func (w *world) forged() {
	t := w.t
	s := w.journal()
	last, err := s.GetLastMsgForSubject(t.Context(), "events.agent.m1.state.k.2")
	harness.Must(t, err)
	intake := s.CachedInfo().Config.Subjects[0]
	js := w.OperatorJetStream(w.t)
	if _, err := js.Publish(t.Context(), intake[:len(intake)-1]+"agent.m1.state.k.2", last.Data); err != nil {
		t.Fatal(err)
	}
	w.c.CaughtUp(t)
	var found bool
	for _, name := range names(w.verify().Differences) {
		found = found || name == "journal agent.m1.state.k.2"
	}
	if !found {
		t.Error("a forged event was not found")
	}
}

// revision returns the revision of an event by aggregate and version.
func (w *world) revision(stream string, version int) (r uint64) {
	w.t.Helper()
	err := w.sql.QueryRow(w.t.Context(), "SELECT revision FROM agents.events WHERE stream = $1 AND version = $2", stream, version).Scan(&r)
	harness.Must(w.t, err)
	return r
}
