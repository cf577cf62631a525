package erasure

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestRotateMaster: each rotation makes a new master key, also after one that has kept the old one.
// Several at once lose no key, and a key file of another data set is not changed.
func TestRotateMaster(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key", strings.Repeat("5a", 32))
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", key, "--postgres", "off"}})
	c := e.Client(t)
	c.MustSet(t, "a1", "k", "v", nil)
	rotate := func(args ...string) (r harness.Result, master string, n int) {
		t.Helper()
		r = harness.Run(t, append([]string{"auth", "rotate-master", "--json", "--data", e.Data}, args...)...)
		var out struct {
			Master string
			Keys   int
		}
		_ = json.Unmarshal([]byte(r.Stdout), &out) // of a failed run
		return r, out.Master, out.Keys
	}
	seen := map[string]bool{}
	for _, args := range [][]string{{"--keep-old"}, {"--keep-old"}, nil, nil} {
		r, master, n := rotate(args...)
		if r.Code != 0 || n != 1 || seen[master] {
			t.Errorf("rotate-master %v: %+v", args, r)
		}
		seen[master] = true
	}

	other := newKey(t, "other", strings.Repeat("77", 32))
	if r, _, _ := rotate("--master-key", other); r.Code != 1 || !strings.Contains(r.Stdout+r.Stderr, "not the one of this data set") {
		t.Errorf("with the key of another data set: %+v", r)
	}
	if text, err := os.ReadFile(other); err != nil || !bytes.Equal(text, []byte(strings.Repeat("77", 32)+"\n")) {
		t.Errorf("the key file of another data set was changed: %v", err)
	}

	done := make(chan harness.Result, 4)
	for range cap(done) {
		go func() {
			r, _, _ := rotate()
			done <- r
		}()
	}
	for range cap(done) {
		if r := harness.Receive(t, "a rotation", done); r.Code != 0 && !strings.Contains(r.Stdout+r.Stderr, "rotated already") {
			t.Errorf("one of several rotations: %+v", r)
		}
	}
	e.Stop()
	e.Restart()
	if got := c.MustGet(t, "a1", "k", M{"consistency": "strong"}); string(got.Value) != `"v"` {
		t.Errorf("after the rotations: %s", got)
	}
}
