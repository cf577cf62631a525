package erasure

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestEraseBesideWriters: what commands carry over from before an erasure, while it is under
// way, does not outlive it: not the items of a list, nor the payload of a task, nor the value
// that a revert writes again.
func TestEraseBesideWriters(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key", strings.Repeat("5a", 32))
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", key, "--postgres", "off"}})
	c := e.Client(t)
	c.MustDo(t, "agent.a1.append", M{"key": "list", "items": []string{marker}})
	c.MustSet(t, "a1", "k", marker, nil)
	c.MustSet(t, "a1", "k", "x", nil)
	c.MustDo(t, "task.t1.create", M{"kind": "k", "agent_id": "a1", "payload": marker})
	c.MustDo(t, "task.t1.start", M{"agent_id": "a1"})
	c.MustDo(t, "session.s1.open", M{"owner": "a1"})
	c.MustDo(t, "session.s1.put", M{"key": "k", "value": marker})

	var stopped atomic.Bool
	var writers sync.WaitGroup
	var accepted atomic.Int64
	for subject, body := range map[string]M{
		"task.t1.progress": {"note": "later"}, "agent.a1.append": {"key": "list", "items": []string{"later"}},
		"agent.a1.revert": {"key": "k", "to_version": 1}, "session.s1.touch": {},
	} {
		writers.Go(func() {
			for !stopped.Load() {
				_, err := c.Command(t.Context(), "commands."+subject, harness.NewID(), body)
				refused := harness.Refused(err)
				switch {
				case err == nil:
					accepted.Add(1)
				case refused == nil || refused.Status == 500 || refused.Status == 400:
					t.Errorf("%s: %v", subject, err)
					return
				}
				if subject == "agent.a1.revert" {
					_, _ = c.Command(t.Context(), "commands.agent.a1.set", harness.NewID(), M{"key": "k", "value": "x"}) // so that the next one changes something
				}
			}
		})
	}
	harness.Eventually(t, "the writers write", func() bool { return accepted.Load() > 40 })
	erase(t, c, "a1", "erase-1")
	stopped.Store(true)
	writers.Wait()
	for query, body := range map[string]M{
		"agent.a1.entries": {}, "agent.a1.history": {"key": "k", "limit": 1000}, "task.t1.get": {}, "task.t1.history": {"limit": 1000},
		"session.s1.get": {}, "session.s1.history": {"limit": 1000}, "events.read": {"limit": 1000, "wait_ms": 0},
	} {
		answer, err := c.Query(t.Context(), "queries."+query, body)
		if refused := harness.Refused(err); err != nil && (refused == nil || refused.Status != 404) {
			t.Errorf("%s: %v", query, err)
		}
		if bytes.Contains(answer, []byte(marker)) {
			t.Errorf("%s shows what was erased: %.300s", query, answer)
		}
	}
	if answer, err := c.Query(t.Context(), "queries.agent.a1.history", M{"key": "list", "limit": 1000}); err == nil && bytes.Contains(answer, []byte(marker)) {
		t.Errorf("the list shows what was erased: %.300s", answer)
	}
}

// TestWhatIsWrittenDuringAnErasureStays: entries, losing writes and messages that were written
// after the key was retired are in SQL after the erasure, and after each rebuild.
func TestWhatIsWrittenDuringAnErasureStays(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", newKey(t, "key", strings.Repeat("5a", 32))}})
	c := e.Client(t)
	var stopped atomic.Bool
	var writers sync.WaitGroup
	var accepted atomic.Int64
	for n := range 4 {
		writers.Go(func() {
			for i := 0; !stopped.Load(); i++ {
				for subject, body := range map[string]M{
					"agent.a1.set":      {"key": fmt.Sprintf("k%d.%d", n, i), "value": i},
					"agent.a1.delete":   {"key": fmt.Sprintf("k%d.%d", n, i-1), "timestamp": "2020-01-01T00:00:00Z"}, // loses
					"config.a1.set":     {"key": fmt.Sprintf("c%d.%d", n, i), "value": i},
					"message.a1.direct": {"to": "a2", "body": i},
				} {
					if _, err := c.Command(t.Context(), "commands."+subject, harness.NewID(), body); err == nil {
						accepted.Add(1)
					} else if no := harness.Refused(err); no == nil || no.Status == 500 || no.Status == 400 {
						t.Errorf("%s: %v", subject, err)
						return
					}
				}
			}
		})
	}
	for round := range 3 {
		harness.Eventually(t, "the writers write", func() bool { return accepted.Load() > int64(100*(round+1)) })
		erase(t, c, "a1", fmt.Sprint("erase-", round))
	}
	stopped.Store(true)
	writers.Wait()
	e.Verify()
	for _, view := range []string{"messages", "durable"} {
		if r := e.Run("rebuild", view); r.Code != 0 {
			t.Errorf("rebuild %s: %d %s", view, r.Code, r.Stderr)
		}
	}
	e.Verify()
}
