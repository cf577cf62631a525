package embedded_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// While what a principal hears is changed, each of its requests reaches the engine once.
func TestRequestsWhileAnAccountChanges(t *testing.T) {
	s := support.NATSFor(t, embedded.Config{Dir: t.TempDir(), Auth: true, ReadRaw: auth.Streams})
	creds, err := s.Authority().NewPrincipal("alice")
	harness.Must(t, err)
	engine := support.Engine(t, s)
	var mu sync.Mutex
	seen := map[string]int{}
	_, err = engine.Subscribe("tm.*.commands.>", func(m *nats.Msg) {
		mu.Lock()
		seen[string(m.Data)]++
		mu.Unlock()
		_ = m.Respond([]byte("{}"))
	})
	harness.Must(t, err)
	harness.Must(t, engine.Flush())
	alice, err := nats.Connect(s.URL(), nats.UserCredentialBytes(creds))
	harness.Must(t, err)
	defer alice.Close()

	const (
		changes = 4
		apart   = 600 * time.Millisecond // the server looks for changes twice a second
	)
	var setting sync.WaitGroup
	asked := 0
	for made, next := 0, time.Now(); made < changes || time.Now().Before(next); asked++ {
		if made < changes && !time.Now().Before(next) {
			feeds := []string{"agents.>", "tasks.>"}[:made%2+1]
			setting.Go(func() {
				if err := s.Authority().Apply("alice", feeds, nil); err != nil {
					t.Error(err)
				}
			})
			made, next = made+1, time.Now().Add(apart)
		}
		if _, err := alice.Request("commands.agent.a1.set", fmt.Append(nil, asked), 5*time.Second); err != nil {
			t.Fatalf("request %d: %v", asked, err)
		}
	}
	setting.Wait()
	harness.Must(t, engine.Flush())
	mu.Lock()
	defer mu.Unlock()
	var twice []string
	for id, n := range seen {
		if n != 1 {
			twice = append(twice, fmt.Sprint(id, "×", n))
		}
	}
	if len(twice) > 0 || len(seen) != asked {
		t.Errorf("%d requests, %d reached the engine, %d of them more than once: %s", asked, len(seen), len(twice), strings.Join(twice, " "))
	}
}
