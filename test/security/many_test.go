package security

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestManyPrincipals: an engine with many principals starts soon, and each of them works.
func TestManyPrincipals(t *testing.T) {
	count := harness.Rounds(200, 1000)
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--auth", "on"}})
	store, err := principals.Open(t.Context(), e.Operator(t), natsio.Subjects{}, nil, slog.New(slog.DiscardHandler))
	harness.Must(t, err)
	a := keys(t, e)
	creds := map[int][]byte{}
	for i := range count {
		name := fmt.Sprint("p", i)
		_, err := store.Add(t.Context(), identity.Operator, principals.Principal{Name: name, Role: "agent", Agents: name})
		harness.Must(t, err)
		made, err := a.NewPrincipal(name)
		harness.Must(t, err)
		creds[i] = made
	}
	e.Stop()
	began := time.Now()
	e.Restart()
	t.Logf("the start with %d principals took %s", count, time.Since(began))
	for _, i := range []int{0, count / 2, count - 1} {
		c, _ := attacker(t, e, nats.UserCredentialBytes(creds[i]))
		c.MustSet(t, fmt.Sprint("p", i), "k", i, nil)
		_, err := c.Get(t.Context(), fmt.Sprint("p", i/2+1), "k", nil)
		harness.WantRefusal(t, "another's entry", err, 403, "forbidden")
	}
}
