package scenarios

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestDeadlines: at its deadline a started task fails with the reason deadline
// and a task that was not started is cancelled; an ended one does not change.
// This holds over a restart.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	deadline := time.Now().Add(6 * time.Second).UTC().Format(time.RFC3339)
	for _, id := range []string{"working", "waiting", "done"} {
		c.MustDo(t, "task."+id+".create", M{"kind": "k", "deadline": deadline})
	}
	c.MustDo(t, "task.working.start", M{"agent_id": "a"})
	c.MustDo(t, "task.done.start", M{"agent_id": "a"})
	c.MustDo(t, "task.done.complete", M{"result": 1})
	e.Kill()
	e.Restart()
	c = e.Client(t)
	for id, want := range map[string][2]string{
		"working": {"failed", "deadline"}, "waiting": {"cancelled", "deadline"}, "done": {"completed", ""},
	} {
		ends(t, c, "queries.task."+id+".get", want)
	}
	e.Verify()
}

// TestSessionsExpire: a session without activity expires, over a restart of the
// engine too.
func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	c.MustDo(t, "session.short.open", M{"owner": "o", "ttl": 3})
	c.MustDo(t, "session.long.open", M{"owner": "o", "ttl": 600})
	c.MustDo(t, "session.short.put", M{"key": "k", "value": 1})
	e.Kill()
	e.Restart()
	c = e.Client(t)
	ends(t, c, "queries.session.short.get", [2]string{"expired", ""})
	ends(t, c, "queries.session.long.get", [2]string{"open", ""})
	refused(t, c, "commands.session.short.put", M{"key": "k", "value": 2}, 422, "session.expired")
	refused(t, c, "commands.session.short.touch", M{}, 422, "session.expired")
	refused(t, c, "commands.session.short.expire", M{}, 404, "command.unknown") // only the engine may
}

// ends waits until a document has a status and reason.
func ends(t *testing.T, c *harness.Client, query string, want [2]string) {
	t.Helper()
	harness.Eventually(t, query, func() error {
		var got struct {
			Status string `json:"status"`
			Reason string `json:"reason"`
		}
		answer, err := c.Query(t.Context(), query, nil)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(answer, &got); err != nil {
			return err
		}
		if [2]string{got.Status, got.Reason} != want {
			return fmt.Errorf("%+v, want %v", got, want)
		}
		return nil
	})
}
