package security

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// What a client without credentials has left in development mode has no rights once
// clients must authenticate: a reminder would else act for ever.
func TestRemindersFromBeforeAuthHaveNoGrants(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	e.Client(t).MustDo(t, "reminder.left.set", harness.M{"every_ms": 1000, "count": 1000,
		"command": harness.M{"subject": "agent.victim.add", "body": harness.M{"key": "n", "delta": 1}}})
	e.Stop()
	e.Launch("--auth", "on")
	e.Await()
	harness.Eventually(t, "the reminder is refused", func() error {
		r := e.Run("query", "queries.reminder.left.get", "{}", "--json")
		if !strings.Contains(r.Stdout, `"forbidden"`) {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}
