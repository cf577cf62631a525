package scenarios

import (
	"testing"
	"time"
	"fmt"
	"encoding/json"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestReminders(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	for i := range 5 {
		c.MustDo(t, fmt.Sprintf("reminder.r%d.set", i), M{"every_ms": 1000, "count": 4, "command": M{"subject": fmt.Sprintf("agent.a%d.add", i), "body": M{"key": "n", "delta": 1}}})
	}
	start := time.Now()
	for i := range 5 {
		harness.Eventually(t, "done", func() error {
			answer, err := c.Query(t.Context(), fmt.Sprintf("queries.reminder.r%d.get", i), nil)
			if err != nil {
				return err
			}
			var got struct{ Status string }
			harness.Must(t, json.Unmarshal(answer, &got))
			if got.Status != "done" {
				return fmt.Errorf("%s", answer)
			}
			return nil
		})
	}
	t.Log(time.Since(start))
	answer, err := c.Query(t.Context(), "queries.reminder.r1.history", nil)
	t.Logf("%s %v", answer, err)
	answer, err = c.Query(t.Context(), "queries.reminders.list", nil)
	t.Logf("%s %v", answer, err)
	e.Verify()
}
