package scenarios

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestMonitoring: engine watch --feed follows the stream AGENT_STATE.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	c.MustSet(t, "seen", "before", 1, nil)
	watch := exec.Command(harness.Binary(t), "watch", "--data", e.Data, "--feed", "agents.state.seen.>")
	out, err := watch.StdoutPipe()
	if err == nil {
		err = watch.Start()
	}
	harness.Must(t, err)
	limit := time.AfterFunc(30*time.Second, func() { _ = watch.Process.Kill() })
	defer limit.Stop()
	lines := bufio.NewScanner(out)
	for _, key := range []string{"before", "after"} {
		if !lines.Scan() || !strings.Contains(lines.Text(), `"subject":"agents.state.seen.`+key+`"`) {
			t.Errorf("watch printed %q, not %s", lines.Text(), key)
		}
		c.MustSet(t, "seen", "after", 2, nil)
	}
	_ = watch.Process.Kill()
	_ = watch.Wait() // it was killed
}
