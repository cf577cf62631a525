package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestCatchUp: a subscriber in Node reads every event once and in order while the journal
// is trimmed into the archive and the engine is killed.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	e.RunPage(t, "docs/howto/catch-up.md")
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(harness.Rounds(2, 15))*time.Minute)
	defer cancel()
	dir := harness.NodeModules(t, "../e2e/testdata/node", "catchup.mjs")
	var said, wrong bytes.Buffer
	node := exec.CommandContext(ctx, "node", filepath.Join(dir, "catchup.mjs"), e.NATSURL)
	node.Stdout, node.Stderr = &said, &wrong
	harness.Must(t, node.Start())

	rounds, keys := harness.Rounds(3, 330), harness.Rounds(60, 200)
	for part := range 3 {
		c := e.Client(t)
		grow(t, c, fmt.Sprint("b", part), keys, rounds)
		c.CaughtUp(t)
		trim(t, e, "--before", "0s", "--yes")
		if part == 1 {
			e.Kill()
			e.Restart()
		}
	}
	c := e.Client(t)
	grow(t, c, "c", 50, 2)
	c.MustSet(t, "c", "end", 1, nil)
	if err := node.Wait(); err != nil {
		t.Fatalf("the subscriber: %v\n%s%.500s", err, wrong.Bytes(), said.Bytes())
	}

	replayed := e.Run("replay", "--positions").Stdout
	for _, more := range [][]string{nil, {"--from", "7", "--to", "900", "--subject", "events.agent.*.state.>"}, {"--subject", "events.agent.c.>"}} {
		here := e.Run("replay", append([]string{"--positions"}, more...)...)
		there := harness.Run(t, append([]string{"replay", "--positions", "--server", e.NATSURL}, more...)...)
		if here.Code != 0 || here.Stdout != there.Stdout || here.Stdout == "" {
			t.Errorf("replay %q by query: exit code %d %s, %d bytes; from the stores %d bytes", more, there.Code, there.Stderr, len(there.Stdout), len(here.Stdout))
		}
	}
	var want strings.Builder
	for line := range strings.Lines(replayed) {
		var at struct {
			Revision uint64
			Event    struct {
				Type, ID, Key, Digest string
				Version               uint64
			}
		}
		harness.Must(t, json.Unmarshal([]byte(line), &at))
		ev := &at.Event
		key := ev.Key
		if key == "" {
			key = "undefined"
		}
		fmt.Fprintln(&want, at.Revision, ev.Type, ev.ID, key, ev.Version, ev.Digest)
	}
	got, all := strings.Split(said.String(), "\n"), strings.Split(want.String(), "\n")
	if len(got) < 3*keys*rounds || len(got) > len(all) {
		t.Errorf("the subscriber read %d events, the history has %d", len(got)-1, len(all)-1)
	}
	for i := range min(len(got)-1, len(all)-1) {
		if got[i] != all[i] {
			t.Fatalf("event %d was read as\n%s\nand is\n%s", i+1, got[i], all[i])
		}
	}
}
