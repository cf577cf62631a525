package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// nextTask is the answer to tasks.next.
type nextTask struct {
	Task struct {
		ID       string `json:"task_id"`
		Status   string `json:"status"`
		AgentID  string `json:"agent_id"`
		Attempts int    `json:"attempts"`
		Reason   string `json:"reason"`
	} `json:"task"`
	Fence   uint64          `json:"fence"`
	Receipt harness.Receipt `json:"receipt"`
}

func next(ctx context.Context, c *harness.Client, id string, body M) (got nextTask, err error) {
	msg := &nats.Msg{Subject: "commands.tasks.next", Header: nats.Header{}}
	if id != "" {
		msg.Header.Set(nats.MsgIdHdr, id)
	}
	if msg.Data, err = json.Marshal(body); err != nil {
		return got, err
	}
	answer, err := c.Ask(ctx, msg)
	if err == nil {
		err = json.Unmarshal(answer, &got)
	}
	return got, err
}

func mustNext(t *testing.T, c *harness.Client, task string, body M) nextTask {
	t.Helper()
	got, err := next(t.Context(), c, harness.NewID(), body)
	if err != nil || got.Task.ID != task || got.Fence != got.Receipt.Version {
		t.Fatalf("next: %+v, %v, want %s", got, err, task)
	}
	return got
}

// TestTasks: claims, leases, fences and retries at every door, in every view and query,
// over a kill, a rebuild and verify, with encryption.
func TestTasks(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "master.key")
	harness.Must(t, os.WriteFile(key, []byte(strings.Repeat("6b", 32)+"\n"), 0o600))
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", key}})
	e.RunPage(t, "docs/howto/tasks.md")
	c := e.Client(t)
	leasesAndFeeds(t, c)
	taskClaimsAtEveryDoor(t, c)
	workersThatAreGone(t, e, c)
	claimsOverAKill(t, e, c)
	e.Verify()
	for _, view := range []string{"durable", "hot"} {
		if r := e.Run("rebuild", view); r.Code != 0 {
			t.Errorf("rebuild %s: %d %s", view, r.Code, r.Stderr)
		}
	}
	e.Verify()
}

func leasesAndFeeds(t *testing.T, c *harness.Client) {
	seen := make(chan string, 64)
	sub, err := c.Subscribe("tasks.>", func(m *nats.Msg) { // one: the order of two subscriptions is not kept
		if strings.Contains(m.Subject+".", ".lease.") {
			seen <- m.Subject
		}
	})
	harness.Must(t, err)
	harness.Must(t, c.Flush())
	c.MustDo(t, "task.lease.create", M{"kind": "lease", "payload": "secret", "retry": M{"max_attempts": 2}})
	first := mustNext(t, c, "lease", M{"kind": "lease", "agent_id": "a", "lease_ms": 300})
	again := mustNext(t, c, "lease", M{"kind": "lease", "agent_id": "b", "lease_ms": 300, "wait_ms": 60_000})
	if first.Fence != 2 || again.Fence != 4 || again.Task.Attempts != 2 {
		t.Errorf("%+v, then %+v", first, again)
	}
	refused(t, c, "commands.task.lease.complete", M{"agent_id": "a", "fence": 2}, 409, "task.fenced")
	var got []string
	for !slices.Contains(got, "tasks.failed.lease.lease_expired") {
		got = append(got, harness.Receive(t, "the feed of the task", seen))
	}
	want := []string{"tasks.created.lease", "tasks.started.lease.a", "tasks.created.lease", "tasks.started.lease.b", "tasks.failed.lease.lease_expired"}
	if !slices.Equal(got, want) {
		t.Errorf("the feeds have %q, want %q", got, want)
	}
	harness.Must(t, sub.Unsubscribe())
	for status, where := range map[string]M{"failed": nil, "started": {"at_revision": again.Receipt.Revision}, "created": {"at_revision": again.Receipt.Revision - 1}} {
		answer, err := c.Query(t.Context(), "queries.task.lease.get", where)
		if err != nil || !strings.Contains(string(answer), `"status":"`+status+`"`) || strings.Contains(string(answer), `"lease_ms":300`) != (status == "started") {
			t.Errorf("%v: %s, %v", where, answer, err)
		}
	}
	answer, err := c.Query(t.Context(), "queries.tasks.list", M{"kind": "lease", "status": "failed"})
	if err != nil || !strings.Contains(string(answer), `"reason":"lease_expired"`) {
		t.Errorf("the list: %s, %v", answer, err)
	}
}

func taskClaimsAtEveryDoor(t *testing.T, c *harness.Client) {
	for _, id := range []string{"door1", "door2", "door3", "door4"} {
		c.MustDo(t, "task."+id+".create", M{"kind": "door"})
	}
	_, err := send(t, c, true, item("", "task.door1.claim", M{"agent_id": "a"}), item("", "task.door1.complete", M{"agent_id": "a", "fence": 2}))
	harness.Must(t, err)
	got, err := send(t, c, false, item("", "task.door2.claim", M{"agent_id": "a"}), item("", "tasks.next", M{"agent_id": "a"}))
	if err != nil || got.Results[0].Receipt == nil || got.Results[1].Error == nil || got.Results[1].Error.Code != "command.unknown" {
		t.Errorf("a batch: %+v, %v", got, err)
	}
	_, err = c.JS.PublishMsg(t.Context(), &nats.Msg{Subject: "enqueue.task.door3.claim", Header: nats.Header{nats.MsgIdHdr: []string{"claim3"}}, Data: []byte(`{"agent_id":"a"}`)})
	harness.Must(t, err)
	sql := c.SQL(t)
	_, err = sql.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('claim4', 'task.door4.claim', '{"agent_id":"a","lease_ms":600000}')`)
	harness.Must(t, err)
	harness.Eventually(t, "all tasks are claimed", func() error {
		var n int
		err := sql.QueryRow(t.Context(), `SELECT count(*) FROM agents.tasks WHERE kind = 'door' AND status IN ('started', 'completed')
			AND (state_text::jsonb->>'fence')::int = 2`).Scan(&n)
		if err == nil && n != 4 {
			err = fmt.Errorf("%d are", n)
		}
		return err
	})
	_, err = next(t.Context(), c, "", M{"agent_id": "a", "kind": "door"})
	harness.WantRefusal(t, "claimed tasks", err, 404, "task.none")
}

// workersThatAreGone: a worker that disconnects while it waits gets no task; the next one does.
func workersThatAreGone(t *testing.T, e *harness.Engine, c *harness.Client) {
	gone := e.Client(t)
	harness.Must(t, gone.PublishMsg(&nats.Msg{Subject: "commands.tasks.next", Reply: gone.NewRespInbox(), Data: []byte(`{"agent_id":"gone","kind":"gone","wait_ms":60000}`)}))
	harness.Must(t, gone.Flush())
	_, err := next(t.Context(), c, "", M{"agent_id": "a", "kind": "gone", "wait_ms": 200}) // the other one waits by now
	harness.WantRefusal(t, "no task", err, 404, "task.none")
	_, err = gone.Subscribe("gone.alive", func(*nats.Msg) {})
	harness.Must(t, err)
	harness.Must(t, gone.Flush())
	gone.Close()
	harness.Eventually(t, "the worker is gone", func() error {
		if _, err := c.Conn.Request("gone.alive", nil, 100*time.Millisecond); !errors.Is(err, nats.ErrNoResponders) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	c.MustDo(t, "task.gone.create", M{"kind": "gone"})
	mustNext(t, c, "gone", M{"agent_id": "a", "kind": "gone"})
}

// claimsOverAKill: a request that waits, the index and the leases are there again after a
// kill; a command id has the same task.
func claimsOverAKill(t *testing.T, e *harness.Engine, c *harness.Client) {
	for i := range 20 {
		task := M{"kind": "kill", "priority": i%2 + 1}
		if of := i % 3; of > 0 { // the others are for any agent
			task["agent_id"] = []string{"a", "b"}[of-1]
		}
		c.MustDo(t, fmt.Sprintf("task.kill%d.create", i), task)
	}
	id := harness.NewID()
	before, err := next(t.Context(), c, id, M{"kind": "kill", "agent_id": "a", "lease_ms": 5000})
	harness.Must(t, err)
	c.MustDo(t, "task."+before.Task.ID+".progress", M{"note": "n", "fence": before.Fence})
	e.Kill()
	e.Restart()
	c = e.Client(t)
	after, err := next(t.Context(), c, id, M{"kind": "kill", "agent_id": "a", "lease_ms": 5000})
	if err != nil || after.Task.ID != before.Task.ID || after.Fence != before.Fence || !after.Receipt.Replayed {
		t.Errorf("again: %+v, %v, before %+v", after, err, before)
	}
	var back nextTask // after its lease has run out, on a slow machine soon
	claim := func() (got nextTask, err error) {
		if got, err = next(t.Context(), c, "", M{"kind": "kill", "agent_id": "a", "wait_ms": 60_000}); got.Task.ID == before.Task.ID {
			back = got
		}
		return got, err
	}
	for i := 1; i < 20; i += 2 { // the higher priority, oldest first, but not what is for b
		id := fmt.Sprint("kill", i)
		if i%3 == 2 || id == before.Task.ID {
			continue
		}
		got, err := claim()
		if got.Task.ID == before.Task.ID {
			got, err = claim()
		}
		if err != nil || got.Task.ID != id {
			t.Errorf("next: %+v, %v, want %s", got, err, id)
		}
	}
	for err == nil && back.Task.ID == "" {
		_, err = claim()
	}
	if err != nil || back.Fence <= before.Fence || back.Task.Attempts != 2 {
		t.Errorf("after the lease: %+v, %v", back, err)
	}
}

// claimEach claims tasks that several engines choose from: each is claimed once, by the
// request that asks for it, also when that is sent twice.
func claimEach(t *testing.T, c *harness.Client, tasks int) {
	t.Helper()
	for i := range tasks {
		c.MustDo(t, fmt.Sprintf("task.each%d.create", i), M{"kind": "each"})
	}
	var mu sync.Mutex
	claimed := map[string]string{}
	var asking sync.WaitGroup
	for w := range 8 {
		asking.Go(func() {
			for {
				id := harness.NewID()
				answers := make(chan nextTask, 2)
				errs := make(chan error, 2)
				for range 2 {
					go func() {
						got, err := next(t.Context(), c, id, M{"kind": "each", "agent_id": fmt.Sprint("w", w)})
						answers <- got
						errs <- err
					}()
				}
				a, b, err := <-answers, <-answers, errors.Join(<-errs, <-errs)
				if no := harness.Refused(err); no != nil && no.Code == "task.none" && a.Task.ID+b.Task.ID == "" {
					return
				}
				mu.Lock()
				for _, got := range []nextTask{a, b} {
					if got.Task.ID == "" {
						continue // the other request has taken the last task
					}
					if other := claimed[got.Task.ID]; other != "" && other != id || got.Fence != 2 {
						t.Errorf("%+v, claimed by %s before", got, other)
					}
					claimed[got.Task.ID] = id
				}
				if a.Task.ID != "" && b.Task.ID != "" && a.Task.ID != b.Task.ID {
					t.Errorf("%s has claimed %s and %s", id, a.Task.ID, b.Task.ID)
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	if len(claimed) != tasks {
		t.Errorf("%d of %d tasks are claimed", len(claimed), tasks)
	}
}
