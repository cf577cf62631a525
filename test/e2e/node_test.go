package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestNode: a client in another language needs only the wire contract and its
// NATS library.
func TestNode(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	dir := harness.NodeModules(t, "testdata/node", "first.mjs")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "first.mjs"), e.NATSURL)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "set and get\nconflict\nrefusal\nwatch\n" {
		t.Errorf("first.mjs: %v\n%s", err, out)
	}
	e.Client(t).CheckAll(t)
}
