// Package seed takes the systems of the customer's document that live in the
// engine as a whole: lifecycles, time, batches, and several engines on one
// NATS and one Postgres.
package seed

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(process{m}, goleak.Cleanup(func(code int) {
		harness.Clean()
		os.Exit(code)
	}))
}

type process struct{ m *testing.M }

func (p process) Run() int {
	code := p.m.Run()
	runtime.GC() // caches of the servers in this process end when collected
	return code
}

type M = harness.M

// must sends a command that is taken.
func must(t *testing.T, c *harness.Client, subject string, body any) harness.Receipt {
	t.Helper()
	r, err := c.Command(t.Context(), subject, "", body)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return r
}

// refused sends a command that is refused with a code.
func refused(t *testing.T, c *harness.Client, subject string, body any, status int, code string) {
	t.Helper()
	_, err := c.Command(t.Context(), subject, "", body)
	r := harness.Refused(err)
	if r == nil || r.Status != status || r.Code != code {
		t.Errorf("%s: %v, want %d %s", subject, err, status, code)
	}
}

// phase is an agent's phase.
func phase(t *testing.T, c *harness.Client, agent string) string {
	t.Helper()
	var l struct {
		Phase string `json:"phase"`
	}
	answer, err := c.Query(t.Context(), "queries.agent."+agent+".lifecycle", nil)
	if err == nil {
		err = json.Unmarshal(answer, &l)
	}
	if err != nil {
		t.Fatalf("lifecycle of %s: %v", agent, err)
	}
	return l.Phase
}

// becomes waits until an agent is in a phase.
func becomes(t *testing.T, c *harness.Client, agent, want string) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	for last := ""; ; {
		if last = phase(t, c, agent); last == want {
			return
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-deadline.Done():
			t.Fatalf("agent %s is %s, not %s", agent, last, want)
		}
	}
}

// lifecycle are the types of an agent's lifecycle events, in order.
func lifecycle(t *testing.T, c *harness.Client, agent string) []string {
	t.Helper()
	var types []string
	for _, ev := range c.Journal(t) {
		if ev.Subject == "events.agent."+agent+".lifecycle" {
			types = append(types, strings.TrimPrefix(ev.Type, "agent."))
		}
	}
	return types
}
