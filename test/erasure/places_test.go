package erasure

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestEraseTwice: of two erasures with ids of their own, of which the second comes before the
// first is cleaned, both are cleaned. Neither the tables of an interrupted rebuild nor the
// statistics of the search keep a value.
func TestEraseTwice(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--search", "--encryption", "on", "--master-key", newKey(t, "key", strings.Repeat("5a", 32))}})
	c := e.Client(t)
	db, lock := c.SQL(t), c.SQL(t)
	words := func() (n int) {
		harness.Must(t, db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stats WHERE schemaname = 'agents' AND (most_common_elems::text ILIKE $1 OR most_common_vals::text ILIKE $1)`, "%"+marker+"%").Scan(&n))
		return n
	}
	harness.Eventually(t, "the indexes of the search are made", func() (made bool) {
		harness.Must(t, db.QueryRow(t.Context(), `SELECT count(*) = 2 AND bool_and(i.indisvalid) AND bool_or(a.attstattarget = 0) FROM pg_index i
			JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = 1 WHERE i.indexrelid::regclass::text LIKE '%state_find_%'`).Scan(&made))
		return made
	})
	for i := range 50 {
		c.MustSet(t, "a1", fmt.Sprint("k", i), marker, nil)
	}
	c.MustSet(t, "other", "k", "stays", nil)
	for _, id := range []string{"t1", "t2"} {
		c.MustDo(t, "task."+id+".create", M{"kind": "k", "agent_id": "a1", "payload": marker})
	}
	c.MustDo(t, "session.s1.open", M{"owner": "a1"})
	c.MustDo(t, "session.s1.put", M{"key": "k", "value": marker})
	c.CaughtUp(t)
	harness.Exec(t, db, `ANALYZE agents.state`)
	if n := words(); n > 0 {
		t.Errorf("%d statistics have words of values", n)
	}
	harness.Exec(t, db, `CREATE SCHEMA agents_next; CREATE TABLE agents_next.state AS TABLE agents.state`) // as a rebuild leaves it that is killed

	// The view waits, so nothing can be cleaned.
	tx, err := lock.Begin(t.Context())
	harness.Must(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), `LOCK TABLE agents.checkpoints IN EXCLUSIVE MODE`)
	harness.Must(t, err)
	send := func(id string) {
		if _, err := c.Command(t.Context(), "commands.agent.a1.erase", id, M{"reason": "article 17"}); err != nil {
			t.Error(err)
		}
	}
	send("erase-1")
	c.MustSet(t, "a1", "k0", marker+" again", nil)
	c.MustDo(t, "task.t3.create", M{"kind": "k", "agent_id": "a1", "payload": marker})
	send("erase-2")
	harness.Must(t, tx.Rollback(t.Context()))

	for _, id := range []string{"erase-2", "erase-1"} {
		erase(t, c, "a1", id)
	}
	for _, stream := range []string{"TASK_EXECUTION", "AGENT_STATE"} {
		for _, m := range c.Messages(t, stream, ">") {
			if bytes.Contains(m.Raw, []byte(marker)) {
				t.Errorf("%s has a value on %s", stream, m.Subject)
			}
		}
	}
	for _, bucket := range []string{"TASK_STATE", "SESSION_DATA", "AGENT_STATE"} {
		for _, m := range c.Messages(t, "KV_"+bucket, ">") {
			if bytes.Contains(m.Raw, []byte(marker)) {
				t.Errorf("%s has a value on %s", bucket, m.Subject)
			}
		}
	}
	var left bool
	harness.Must(t, db.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'agents_next')`).Scan(&left))
	if left {
		t.Error("the tables of the rebuild are left")
	}
	if found := rowsHolding(t, db, marker); len(found) > 0 {
		t.Errorf("SQL holds values in %v", found)
	}
	for _, text := range []string{marker, strings.ToLower(marker)} {
		if files := holding(t, e.Data, text); len(files) > 0 {
			t.Errorf("files hold values: %v", files)
		}
	}
	if got := c.MustGet(t, "other", "k", nil); string(got.Value) != `"stays"` {
		t.Errorf("another agent: %s", got)
	}
	e.Verify()
}

// TestEraseTakenOver: an erasure that an engine has begun and not ended, because it was killed, is
// finished by another one that runs on.
func TestEraseTakenOver(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", newKey(t, "key", strings.Repeat("5a", 32)), "--postgres", "off"}})
	c := e.Client(t)
	c.MustSet(t, "a1", "k", marker, nil)
	note := `{"agent":"a1","command":"of-another","reason":"article 17","partition":0,"revision":0}`
	_, err := e.OperatorJetStream(t).Publish(t.Context(), "$TIDEMARK.keys.pending.a1", []byte(note))
	harness.Must(t, err)
	harness.Within(t, 3*time.Minute, "the value is gone", func() error {
		_, err := c.Get(t.Context(), "a1", "k", M{"consistency": "strong"})
		if r := harness.Refused(err); r == nil || r.Status != 404 {
			return fmt.Errorf("get: %v", err)
		}
		return nil
	})
	if r := erase(t, c, "a1", "of-another"); !r.Replayed || r.Erasure.Entries != 1 {
		t.Errorf("receipt %+v", r)
	}
}
