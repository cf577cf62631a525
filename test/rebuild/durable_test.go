package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestUnderLoad rebuilds views while one client writes and others read with
// tokens at each consistency: no read fails, and none is older than one before
// it.
func TestUnderLoad(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--partitions", "2"}, Env: manual.Env})
	c := e.Client(t)
	fill(t, c, 20)
	c.CaughtUp(t) // a read without a token may be older than the last write
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var token atomic.Pointer[string]
	var reads atomic.Int64
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			r, err := c.Set(context.WithoutCancel(ctx), "a", "k1", i, nil)
			if err != nil {
				t.Errorf("write: %v", err)
				return
			}
			token.Store(&r.Token)
			if i%7 == 0 {
				_, err = c.Command(context.WithoutCancel(ctx), "commands.agent.a.delete", "", harness.M{"key": "k2"})
			} else {
				_, err = c.Set(context.WithoutCancel(ctx), "a", "k2", i, nil)
			}
			if err != nil {
				t.Errorf("write: %v", err)
			}
		}
	})
	for _, consistency := range []string{"cached", "hot", "durable", "strong"} {
		running.Go(func() {
			var last uint64
			for ctx.Err() == nil {
				more := harness.M{"consistency": consistency}
				if at := token.Load(); at != nil {
					more["token"] = *at
				}
				got, err := c.Get(context.WithoutCancel(ctx), "a", "k1", more)
				if err != nil {
					t.Errorf("%s read: %v", consistency, err)
					return
				}
				if got.Revision < last {
					t.Errorf("%s read went back from revision %d to %d", consistency, last, got.Revision)
				}
				last = got.Revision
				reads.Add(1)
			}
		})
	}
	var at uint64
	for range 2 {
		all := rebuildAll(t, e, "all")
		if len(all) != 5 {
			t.Errorf("rebuilt were %v", all)
		}
		r := all["durable"]
		if r.Rows != 0 {
			t.Errorf("%d rows differed: %v", r.Rows, r.Keys)
		}
		if len(r.Position) != 2 || r.Position[0]+r.Position[1] <= at {
			t.Fatalf("the position did not move on from %d: %v", at, r.Position)
		}
		at = r.Position[0] + r.Position[1]
	}
	stop()
	running.Wait()
	if reads.Load() < 20 {
		t.Errorf("only %d reads", reads.Load())
	}
	c.CheckAll(t)
	e.Verify()
}

// TestDurable rebuilds the durable view of one engine; only the parts of the
// test write.
func TestDurable(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, manual)
	c := e.Client(t)
	fill(t, c, 10)
	c.CaughtUp(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *harness.Engine, *harness.Client)
	}{
		{"heals SQL", healSQL}, {"killed at each step", killAtEachStep}, {"a second one is refused", refuseSecond},
		{"plan", plan}, {"no such view", noSuchView}, {"a new version", upgradeDurable},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, e, c) })
	}
	c.CheckAll(t)
	e.Verify()
}

// healSQL: the rebuild corrects, counts and names rows that were changed in
// SQL.
func healSQL(t *testing.T, e *harness.Engine, c *harness.Client) {
	sql := c.SQL(t)
	for _, statement := range []string{
		`UPDATE agents.state SET state_text = '0', state_value = '0' WHERE state_key = 'k1'`,
		`UPDATE agents.state SET state_value = '9' WHERE agent_id = 'a' AND state_key = 'k2'`,
		`UPDATE agents.state SET revision = revision + 100000 WHERE agent_id = 'a' AND state_key = 'k3'`,
		`DELETE FROM agents.state WHERE agent_id = 'b' AND state_key = 'k3'`,
		`DELETE FROM agents.tasks WHERE task_id = 'x1'`,
		`UPDATE agents.sessions SET owner = 'bob' WHERE session_id = 'x1'`,
		`INSERT INTO agents.config SELECT 'absent', config_key, config_value, state_text, version, revision, updated_at, digest
			FROM agents.config WHERE agent_id = 'x1'`,
	} {
		harness.Exec(t, sql, statement)
	}
	r := rebuild(t, e, "durable")
	named := fmt.Sprint(r.Keys)
	for _, key := range []string{"{a.k1}", "{b.k1}", "{a.k2}", "{a.k3}", "{b.k3}", "{task x1}", "{session x1}", "{config absent.a.b}"} {
		if !strings.Contains(named, key) {
			t.Errorf("%s is not named in %s", key, named)
		}
	}
	if r.Rows != 8 || len(r.Keys) != 8 {
		t.Errorf("%d rows differed: %s", r.Rows, named)
	}
	c.CheckAll(t)
}

// killAtEachStep: a rebuild that is killed at any step leaves the live rows as
// they were, or right, and the next one passes.
func killAtEachStep(t *testing.T, e *harness.Engine, c *harness.Client) {
	sql, holder := c.SQL(t), c.SQL(t)
	for _, step := range []string{"fold", "swap", "drop"} {
		harness.Exec(t, sql, `UPDATE agents.state SET state_text = '7', state_value = '7' WHERE state_key = 'k1'`)
		if step == "swap" { // it has corrected entries when it comes to this row, and waits
			harness.Exec(t, sql, `UPDATE agents.tasks SET kind = 'other' WHERE task_id = 'x2'`)
			harness.Exec(t, holder, `BEGIN`)
			harness.Exec(t, holder, `SELECT FROM agents.tasks WHERE task_id = 'x2' FOR UPDATE`)
		}
		run := e.Follow("rebuild", "durable", "--json")
		run.Until("step", step)
		if step == "swap" {
			awaitLock(t, sql)
		}
		run.Kill()
		if step == "swap" {
			var wrong int
			if err := sql.QueryRow(t.Context(), `SELECT count(*) FROM agents.state WHERE state_text = '7'`).Scan(&wrong); err != nil || wrong != 2 {
				t.Errorf("killed in the middle of the swap it has left %d of 2 rows as they were (%v)", wrong, err)
			}
			harness.Exec(t, holder, `ROLLBACK`)
		}
		if r := rebuild(t, e, "durable"); r.Rows > 3 {
			t.Errorf("after %s %d rows differed: %v", step, r.Rows, r.Keys)
		}
		c.CheckAll(t)
	}
}

// awaitLock waits until a session waits for the lock of a row or a transaction.
func awaitLock(t *testing.T, sql *pgx.Conn) {
	t.Helper()
	harness.Eventually(t, "the rebuild waits for a lock", func() error {
		var n int
		err := sql.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`).Scan(&n)
		if err == nil && n == 0 {
			return errors.New("no session waits")
		}
		return err
	})
}

// refuseSecond: a second rebuild of a view is refused while one runs.
func refuseSecond(t *testing.T, e *harness.Engine, c *harness.Client) {
	sql, holder := c.SQL(t), c.SQL(t)
	harness.Exec(t, holder, `BEGIN`)
	harness.Exec(t, holder, `SELECT FROM agents.checkpoints WHERE view = 'durable' FOR UPDATE`)
	first := e.Follow("rebuild", "durable", "--json")
	awaitLock(t, sql)
	second := e.Run("rebuild", "durable")
	if second.Code != 1 || !strings.Contains(second.Stderr, "is being rebuilt already") {
		t.Errorf("the second rebuild ended with %d: %s", second.Code, second.Stderr)
	}
	harness.Exec(t, holder, `ROLLBACK`)
	if code, last := first.Wait(); code != 0 {
		t.Errorf("the first rebuild ended with %d: %s", code, last)
	}
}

func plan(t *testing.T, e *harness.Engine, _ *harness.Client) {
	got := e.Run("rebuild", "durable", "--plan", "--json")
	var p struct {
		Events, Bytes uint64
		Rate          float64
	}
	if err := json.Unmarshal([]byte(got.Stdout), &p); err != nil || got.Code != 0 || p.Events < 40 || p.Bytes == 0 || p.Rate <= 0 {
		t.Errorf("--plan ended with %d: %s%s (%v)", got.Code, got.Stdout, got.Stderr, err)
	}
}

func noSuchView(t *testing.T, e *harness.Engine, _ *harness.Client) {
	for view, why := range map[string]string{"message-feed": "in memory", "nosuch": "there is no view"} {
		if r := e.Run("rebuild", view); r.Code != 2 || !strings.Contains(r.Stderr, why) {
			t.Errorf("rebuild %s ended with %d: %s", view, r.Code, r.Stderr)
		}
	}
}
