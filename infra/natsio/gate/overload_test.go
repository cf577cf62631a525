package gate_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/gate"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// Few requests of one account are answered at a time, the others wait in their order, and
// greedy accounts leave room for the rest.
func TestAccountsTakeTurns(t *testing.T) {
	var running sync.WaitGroup
	turns := gate.NewTurns(running.Go)
	release, began := make(chan struct{}), make(chan string, 2*gate.MaxOpen)
	enter := func(account string) bool {
		return turns.Enter(account, func() {
			began <- account
			<-release
		})
	}
	taken := 0
	for enter("greedy") {
		taken++
	}
	if taken != gate.MaxOpenOfOne {
		t.Errorf("one account has %d requests", taken)
	}
	for range gate.MaxAtOnce {
		harness.Receive(t, "a request that is answered", began)
	}
	if !enter("other") || harness.Receive(t, "another's request", began) != "other" {
		t.Error("another account waits for a greedy one")
	}
	if len(began) != 0 {
		t.Errorf("%d more requests of one account are answered at once", len(began))
	}
	for _, account := range strings.Fields("a b c d e f g h i j k l") {
		for enter(account) {
		}
	}
	if !enter("late") {
		t.Error("greedy accounts leave no room for another one")
	}
	close(release)
	running.Wait()
	if n := turns.Left(); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

// The requests a second of a principal are bounded; those of others are not.
func TestAPrincipalAsksNoMoreThanItMay(t *testing.T) {
	r := newRig(t, func(cfg *gate.Config, _ *embedded.Server) { cfg.Rates = natsio.NewRates(1) })
	const info = "$JS.API.STREAM.INFO.KV_AGENT_STATE"
	refused := 0
	for range 20 {
		m, err := r.bob.Request(info, nil, harness.Patience)
		if harness.Must(t, err); strings.Contains(string(m.Data), `"code":429`) {
			refused++
		}
	}
	if refused == 0 {
		t.Error("bob has got no 429")
	}
	if m, err := r.carol.Request(info, nil, harness.Patience); err != nil || strings.Contains(string(m.Data), `"error"`) {
		t.Errorf("carol: %v", err)
	}
}

// A connection that goes on asking while it is refused is closed, another one is not.
func TestAFloodOfRequestsEndsItsConnection(t *testing.T) {
	closed := make(chan uint64, 10)
	r := newRig(t, func(cfg *gate.Config, _ *embedded.Server) { cfg.Disconnect = func(c uint64) { closed <- c } })
	const flooding, other = 7, 8
	body := make([]byte, 200<<10)
	var answers sync.WaitGroup
	for range 250 {
		answers.Add(1)
		r.gate.Overload(flooding, body, answers.Done)
	}
	answers.Add(1)
	r.gate.Overload(other, body, answers.Done)
	answers.Wait() // each of them is answered
	if c := harness.Receive(t, "the closed connection", closed); c != flooding || len(closed) > 0 {
		t.Errorf("the connection %d is closed", c)
	}
}
