package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestKillEncrypted kills an engine whose values and files are encrypted, from its first start
// with a key on, and cuts its power. Every acknowledged value, of before the encryption too, is
// read as it was written, from each tier and from the past.
func TestKillEncrypted(t *testing.T) {
	t.Parallel()
	c := startCrash(t)
	key := filepath.Join(t.TempDir(), "key")
	harness.Must(t, os.WriteFile(key, []byte(strings.Repeat("5a", 32)), 0o600))
	encrypted := func() { c.Launch("--encryption", "on", "--master-key", key) }
	w := &values{acked: map[string][]acknowledged{}}
	w.write(t, c.client, 0)
	for n := range harness.Rounds(2, 20) {
		if n%2 == 0 { // and once more while it encrypts, or starts
			c.Kill()
			encrypted()
			pause(t.Context(), rand.N(400*time.Millisecond))
			c.Kill()
		} else {
			c.disk.Cut(c.Killed)
		}
		encrypted()
		c.Await()
		w.compare(t, c.client)
		w.write(t, c.client, n+1)
	}
	w.compare(t, c.client)
	c.Verify()
}

// values are acknowledged writes, by the key of their one agent.
type values struct {
	mu    sync.Mutex
	acked map[string][]acknowledged
}

type acknowledged struct {
	value    string
	revision uint64
}

// write sets keys of four writers until each has a number of acknowledgements; the engine may
// be killed with the last ones just answered.
func (v *values) write(t *testing.T, c *harness.Client, round int) {
	t.Helper()
	var running sync.WaitGroup
	for writer := range 4 {
		running.Go(func() {
			for n := range 10 {
				key, value := fmt.Sprintf("k%d-%d", writer, n%5), fmt.Sprintf("round %d, writer %d, number %d", round, writer, n)
				r, err := c.Set(context.WithoutCancel(t.Context()), "a1", key, value, nil)
				if err != nil {
					t.Errorf("set %s: %v", key, err)
					return
				}
				v.mu.Lock()
				v.acked[key] = append(v.acked[key], acknowledged{value, r.Revision})
				v.mu.Unlock()
			}
		})
	}
	running.Wait()
}

// compare reads every value that was acknowledged.
func (v *values) compare(t *testing.T, c *harness.Client) {
	t.Helper()
	c.CaughtUp(t)
	for key, all := range v.acked {
		read := func(w acknowledged, options harness.M) {
			if got, err := c.Get(t.Context(), "a1", key, options); err != nil || string(got.Value) != fmt.Sprintf("%q", w.value) {
				t.Errorf("%s with %v: %s, %v; want %q", key, options, got.Value, err, w.value)
			}
		}
		for _, consistency := range []string{"cached", "hot", "durable", "strong"} {
			read(all[len(all)-1], harness.M{"consistency": consistency})
		}
		for _, w := range all {
			read(w, harness.M{"at_revision": w.revision})
		}
	}
}
