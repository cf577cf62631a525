package erasure

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestKilledWhileEncrypting: wherever the engine is killed while it encrypts the streams of
// before, no event is lost, and the start after that encrypts them.
func TestKilledWhileEncrypting(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	const keys = 60
	value := strings.Repeat("v", 200<<10)
	for i := range keys {
		c.MustSet(t, "a1", fmt.Sprint("k", i), value+fmt.Sprint(i), nil)
	}
	c.CaughtUp(t)
	e.Stop()
	args := []string{"--encryption", "on", "--master-key", newKey(t, "key", strings.Repeat("5b", 32))}
	begun := func() int { return strings.Count(e.Log(), "the files of the streams are encrypted") }
	for round := range harness.Rounds(4, 40) {
		before := begun()
		e.Launch(args...)
		harness.Eventually(t, "the encryption begins", func() bool {
			code, _ := e.Ready()
			return begun() > before || code == 200
		})
		time.Sleep(time.Duration(round) * 20 * time.Millisecond) // the copy is made, then the server encrypts
		e.Kill()
	}
	e.Launch(args...)
	e.Await()
	if !strings.Contains(e.Log(), "the encryption of the streams was interrupted") {
		t.Error("no kill has met the encryption")
	}
	for i := range keys {
		if got := c.MustGet(t, "a1", fmt.Sprint("k", i), nil); len(got.Value) < len(value) {
			t.Errorf("k%d has a value of %d bytes", i, len(got.Value))
		}
	}
	e.Verify()
	if left, err := filepath.Glob(filepath.Join(e.Data, "nats", "before-encryption*")); err != nil || len(left) > 0 {
		t.Errorf("a copy in the clear is left: %v, %v", left, err)
	}
	if files := holding(t, filepath.Join(e.Data, "nats"), value[:1000]); len(files) > 0 {
		t.Errorf("files hold values: %v", files)
	}
}
