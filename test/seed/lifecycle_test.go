package seed

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestIdleAgentExpires: the seed's StateLifecycleManager by itself. A write
// hydrates an agent, silence expires it, and the next read is answered from
// SQL, then from KV.
func TestIdleAgentExpires(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--idle-ttl", "2s"}})
	c := e.Client(t)
	c.MustSet(t, "idler", "a", 1, nil)
	c.MustSet(t, "idler", "b", 2, nil)
	becomes(t, c, "idler", "active")
	becomes(t, c, "idler", "expired")
	for key := range c.KV(t) {
		t.Errorf("an expired agent is in KV: %s", key)
	}
	if got := c.MustGet(t, "idler", "a", nil); got.Source != "sql" || string(got.Value) != "1" {
		t.Errorf("the first read after the expiry: %+v", got)
	}
	if got := c.MustGet(t, "idler", "a", M{"consistency": "hot"}); got.Source != "kv" || string(got.Value) != "1" {
		t.Errorf("the second: %+v", got)
	}
	becomes(t, c, "idler", "active") // the read hydrated it, b too
	if got := c.MustGet(t, "idler", "b", M{"consistency": "hot"}); got.Source != "kv" || string(got.Value) != "2" {
		t.Errorf("the other key: %+v", got)
	}
	want := []string{"hydration_started", "hydrated", "expired", "hydration_started", "hydrated"}
	if got := lifecycle(t, c, "idler"); !slices.Equal(got[:min(5, len(got))], want) {
		t.Errorf("lifecycle %v, want %v", got, want)
	}
	e.Verify()
}

// TestHeartbeatKeepsActive: an agent that only says that it lives stays.
func TestHeartbeatKeepsActive(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--idle-ttl", "3s"}})
	c := e.Client(t)
	c.MustSet(t, "beating", "a", 1, nil)
	c.MustSet(t, "silent", "a", 1, nil)
	becomes(t, c, "beating", "active")
	beat := time.NewTicker(400 * time.Millisecond)
	defer beat.Stop()
	for phase(t, c, "silent") != "expired" {
		must(t, c, "commands.agent.beating.heartbeat", M{"status": "alive"})
		<-beat.C
	}
	if got := phase(t, c, "beating"); got != "active" {
		t.Errorf("an agent with a heartbeat is %s", got)
	}
	becomes(t, c, "beating", "expired")
}

// TestLifecycleByCommand takes the contract's table, transition by transition.
func TestLifecycleByCommand(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	do := func(verb string) harness.Receipt { return must(t, c, "commands.agent.l1."+verb, M{}) }
	c.MustSet(t, "l1", "k", "v", nil)
	if got := phase(t, c, "l1"); got != "cold" {
		t.Fatalf("before anything: %s", got)
	}
	refused(t, c, "commands.agent.l1.flush", M{}, 422, "agent.cold")
	refused(t, c, "commands.agent.l1.expire", M{}, 422, "agent.cold")
	if r := do("retire"); r.Outcome != "unchanged" {
		t.Errorf("retire while cold: %+v", r)
	}
	do("hydrate")
	becomes(t, c, "l1", "active")
	if r := do("hydrate"); r.Outcome != "unchanged" {
		t.Errorf("hydrate while active: %+v", r)
	}
	c.MustSet(t, "l1", "k2", "v2", nil)
	do("flush")
	becomes(t, c, "l1", "active")
	if r := do("expire"); r.Outcome != "accepted" {
		t.Errorf("expire: %+v", r)
	}
	if r := do("expire"); r.Outcome != "unchanged" {
		t.Errorf("expire again: %+v", r)
	}
	if rows := c.KV(t); len(rows) != 0 {
		t.Errorf("after the expiry KV has %v", rows)
	}
	refused(t, c, "commands.agent.l1.flush", M{}, 422, "agent.expired")
	do("hydrate")
	becomes(t, c, "l1", "active")
	do("retire")
	if got := phase(t, c, "l1"); got != "cold" {
		t.Errorf("after retire: %s", got)
	}
	refused(t, c, "commands.agent.l1.hydrated", M{}, 404, "command.unknown") // the engine's own verb
	want := []string{"hydration_started", "hydrated", "flush_started", "flushed", "expired", "hydration_started", "hydrated", "retired"}
	if got := lifecycle(t, c, "l1"); !slices.Equal(got, want) {
		t.Errorf("lifecycle %v, want %v", got, want)
	}
	e.Verify()
}

// TestFlushNamesKeys: what a flush says is what it wrote.
func TestFlushNamesKeys(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--flush-interval", "1m", "--flush-threshold", "100000", "--lifecycle", "manual"}})
	c := e.Client(t)
	must(t, c, "commands.agent.f1.hydrate", M{})
	becomes(t, c, "f1", "active")
	for i := range 3 {
		c.MustSet(t, "f1", fmt.Sprintf("k%d", i), i, nil)
	}
	must(t, c, "commands.agent.f1.flush", M{})
	becomes(t, c, "f1", "active")
	var said struct {
		Keys     []string `json:"keys"`
		Revision uint64   `json:"revision"`
	}
	for _, ev := range c.Journal(t) {
		if ev.Type == "agent.flushed" {
			var raw struct {
				Data json.RawMessage `json:"data"`
			}
			if json.Unmarshal(ev.Raw, &raw) != nil || json.Unmarshal(raw.Data, &said) != nil {
				t.Fatalf("flushed: %s", ev.Raw)
			}
		}
	}
	slices.Sort(said.Keys)
	if !slices.Equal(said.Keys, []string{"k0", "k1", "k2"}) || said.Revision == 0 {
		t.Errorf("flushed says %+v", said)
	}
	if rows := c.Rows(t); len(rows) != 3 {
		t.Errorf("SQL has %d rows after the flush", len(rows))
	}
}
