package seed

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestDeadlines: a task that is worked on fails at its deadline with the reason
// deadline, one that nobody has started is cancelled, one that has ended stays;
// over a restart of the engine.
func TestDeadlines(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	deadline := time.Now().Add(6 * time.Second).UTC().Format(time.RFC3339)
	for _, id := range []string{"working", "waiting", "done"} {
		must(t, c, "commands.task."+id+".create", M{"kind": "k", "deadline": deadline})
	}
	must(t, c, "commands.task.working.start", M{"agent_id": "a"})
	must(t, c, "commands.task.done.start", M{"agent_id": "a"})
	must(t, c, "commands.task.done.complete", M{"result": 1})
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

// TestSessionsExpire: an untouched session ends by itself, a touched one does
// not, over a restart of the engine.
func TestSessionsExpire(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	must(t, c, "commands.session.short.open", M{"owner": "o", "ttl": 3})
	must(t, c, "commands.session.long.open", M{"owner": "o", "ttl": 600})
	must(t, c, "commands.session.short.put", M{"key": "k", "value": 1})
	e.Kill()
	e.Restart()
	c = e.Client(t)
	ends(t, c, "queries.session.short.get", [2]string{"expired", ""})
	ends(t, c, "queries.session.long.get", [2]string{"open", ""})
	refused(t, c, "commands.session.short.put", M{"key": "k", "value": 2}, 422, "session.expired")
	refused(t, c, "commands.session.short.touch", M{}, 422, "session.expired")
	refused(t, c, "commands.session.short.expire", M{}, 404, "command.unknown") // the engine's own verb
}

// ends waits until a document has a status and reason.
func ends(t *testing.T, c *harness.Client, query string, want [2]string) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		var got struct {
			Status string `json:"status"`
			Reason string `json:"reason"`
		}
		answer, err := c.Query(t.Context(), query, nil)
		if err == nil {
			err = json.Unmarshal(answer, &got)
		}
		if err == nil && [2]string{got.Status, got.Reason} == want {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline.Done():
			t.Fatalf("%s is %+v (%v), want %v", query, got, err, want)
		}
	}
}
