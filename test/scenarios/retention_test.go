package scenarios

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestRetention: entries are deleted, as events, some time after their last write, also
// when the engine was away meanwhile; what the flag does not name stays.
func TestRetention(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--retention", "tmp.=2s;tmp.keep.=0"}})
	c := e.Client(t)
	gone := func(key string) func() error {
		return func() error {
			_, err := c.Get(t.Context(), "a", key, M{"consistency": "strong"})
			if r := harness.Refused(err); r != nil && r.Status == 404 {
				return nil
			}
			return fmt.Errorf("%s: %v", key, err)
		}
	}
	for _, key := range []string{"tmp.1", "tmp.keep.1", "note"} {
		c.MustSet(t, "a", key, 1, nil)
	}
	harness.Eventually(t, "the deletion", gone("tmp.1"))
	for _, key := range []string{"tmp.keep.1", "note"} {
		c.MustGet(t, "a", key, nil)
	}
	c.MustSet(t, "a", "tmp.1", 2, nil) // it begins again
	c.MustGet(t, "a", "tmp.1", M{"consistency": "strong"})
	c.MustSet(t, "a", "tmp.2", 2, nil)
	e.Kill()
	e.Restart()
	c = e.Client(t)
	harness.Eventually(t, "the deletion after a kill", gone("tmp.2"))
	harness.Eventually(t, "the second deletion", gone("tmp.1"))
	history, err := c.Query(t.Context(), "queries.agent.a.history", M{"key": "tmp.1"})
	harness.Must(t, err)
	for _, want := range []string{`"writer":"retention"`, `"version":4`, `"kind":"deleted"`} {
		if !strings.Contains(string(history), want) {
			t.Errorf("the history lacks %s: %s", want, history)
		}
	}
	e.Verify()
	e.Kill()
	for _, value := range []string{"tmp.", "tmp.=soon", "tmp.=1ms", "t*.=1h", "tmp.=-1d"} {
		if text := e.Refuses("--retention", value); !strings.Contains(text, "--retention") {
			t.Errorf("%s: %s", value, text)
		}
	}
}
