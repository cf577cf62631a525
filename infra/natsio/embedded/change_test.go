package embedded_test

import (
	"errors"
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

// While what a principal hears is changed, each of its requests reaches the engine once, or in
// the moment of the change nobody: it then has no responders.
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

	const changes = 4
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range changes {
			feeds := []string{"agents.>", "tasks.>"}[:i%2+1]
			if err := s.Authority().SetFeeds("alice", feeds); err != nil {
				t.Error(err)
			}
			time.Sleep(500 * time.Millisecond)
		}
	}()
	asked, unheard := 0, 0
	for end := false; !end; asked++ {
		select {
		case <-done:
			end = true
		default:
		}
		_, err := alice.Request("commands.agent.a1.set", fmt.Append(nil, asked), 5*time.Second)
		switch {
		case errors.Is(err, nats.ErrNoResponders): // it reaches nobody, and can be sent again
			unheard++
		case err != nil:
			t.Fatalf("request %d: %v", asked, err)
		}
	}
	harness.Must(t, engine.Flush())
	mu.Lock()
	defer mu.Unlock()
	var twice []string
	for id, n := range seen {
		if n != 1 {
			twice = append(twice, fmt.Sprint(id, "×", n))
		}
	}
	if len(twice) > 0 || len(seen) != asked-unheard || unheard > changes {
		t.Errorf("%d requests, %d had no responders, %d reached the engine, %d of them more than once: %s", asked, unheard, len(seen), len(twice), strings.Join(twice, " "))
	}
}
