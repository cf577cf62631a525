package erasure

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestKeyStoreLost: while the key store has lost its keys, no command is taken, nothing
// looks erased and /readyz says why; when they are back, all goes on without a restart.
func TestKeyStoreLost(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", newKey(t, "key", strings.Repeat("6b", 32)), "--postgres", "off"}})
	c := e.Client(t)
	c.MustSet(t, "a1", "k", "first", nil)
	js := e.OperatorJetStream(t)
	stream := func() jetstream.Stream {
		s, err := js.Stream(t.Context(), "TIDEMARK_KEYS")
		harness.Must(t, err)
		return s
	}
	config := stream().CachedInfo().Config
	var kept []*jetstream.RawStreamMsg
	for seq := stream().CachedInfo().State.FirstSeq; seq <= stream().CachedInfo().State.LastSeq; seq++ {
		if msg, err := stream().GetMsg(t.Context(), seq); err == nil {
			kept = append(kept, msg)
		}
	}
	for name, lose := range map[string]func(){
		"purged":  func() { harness.Must(t, stream().Purge(t.Context())) },
		"removed": func() { harness.Must(t, js.DeleteStream(t.Context(), "TIDEMARK_KEYS")) },
	} {
		lose()
		harness.Eventually(t, name+": a command is refused", func() error {
			_, err := c.Set(t.Context(), "a1", "k", name, nil)
			if r := harness.Refused(err); r == nil || r.Status != 503 || r.Code != "keys.unavailable" {
				return fmt.Errorf("%v", err)
			}
			return nil
		})
		harness.Eventually(t, name+": /readyz says so", func() error {
			if code, body := e.Ready(); code != 503 || !strings.Contains(body, "keys") {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
		for _, agent := range []string{"a1", "a2"} { // one that has a key, and one that would get a new one
			_, err := c.Set(t.Context(), agent, "k", name, nil)
			harness.WantRefusal(t, name+": a command of "+agent, err, 503, "keys.unavailable")
		}
		if name == "removed" {
			_, err := js.CreateStream(t.Context(), config)
			harness.Must(t, err)
		}
		for _, msg := range kept {
			_, err := js.Publish(t.Context(), msg.Subject, msg.Data)
			harness.Must(t, err)
		}
		harness.Eventually(t, name+": commands are taken again", func() error {
			_, err := c.Set(t.Context(), "a1", "after", name, nil)
			return err
		})
		harness.Eventually(t, name+": /readyz is 200 again", func() error {
			if code, body := e.Ready(); code != 200 {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
		if got := c.MustGet(t, "a1", "after", M{"consistency": "strong"}); string(got.Value) != `"`+name+`"` {
			t.Errorf("%s: %s", name, got)
		}
	}
	e.Kill()
	e.Restart()
	for key := range map[string]bool{"k": true, "after": true} {
		c.MustGet(t, "a1", key, M{"consistency": "strong"})
	}
}
