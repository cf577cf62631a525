package scenarios

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestIdleAgentExpires: a write hydrates an agent, silence expires it, and the
// next read is answered from SQL, the one after it from KV.
func TestIdleAgentExpires(t *testing.T) {
	t.Parallel()
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
	becomes(t, c, "idler", "active") // the read hydrated the agent, with b
	if got := c.MustGet(t, "idler", "b", M{"consistency": "hot"}); got.Source != "kv" || string(got.Value) != "2" {
		t.Errorf("the other key: %+v", got)
	}
	want := []string{"hydration_started", "hydrated", "expired", "hydration_started", "hydrated"}
	if got := lifecycle(t, c, "idler"); !slices.Equal(got[:min(5, len(got))], want) {
		t.Errorf("lifecycle %v, want %v", got, want)
	}
	e.Verify()
}

// TestHeartbeatKeepsActive: heartbeats keep an agent active.
func TestHeartbeatKeepsActive(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--idle-ttl", "3s"}})
	c := e.Client(t)
	c.MustSet(t, "beating", "a", 1, nil)
	c.MustSet(t, "silent", "a", 1, nil)
	becomes(t, c, "beating", "active")
	beat := time.NewTicker(400 * time.Millisecond)
	defer beat.Stop()
	for phase(t, c, "silent") != "expired" {
		c.MustDo(t, "agent.beating.heartbeat", M{"status": "alive"})
		<-beat.C
	}
	if got := phase(t, c, "beating"); got != "active" {
		t.Errorf("an agent with a heartbeat is %s", got)
	}
	becomes(t, c, "beating", "expired")
}

// TestLifecycleByCommand checks each transition of the wire contract's table.
func TestLifecycleByCommand(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	do := func(verb string) harness.Receipt {
		t.Helper()
		r, err := c.Command(t.Context(), "commands.agent.l1."+verb, harness.NewID(), M{})
		harness.Mustf(t, err, "%s", verb)
		return r
	}
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
	refused(t, c, "commands.agent.l1.hydrated", M{}, 404, "command.unknown") // only the engine may
	want := []string{"hydration_started", "hydrated", "flush_started", "flushed", "expired", "hydration_started", "hydrated", "retired"}
	if got := lifecycle(t, c, "l1"); !slices.Equal(got, want) {
		t.Errorf("lifecycle %v, want %v", got, want)
	}
	e.Verify()
}

// TestFlushNamesKeys: the event of a flush names the keys that it wrote.
func TestFlushNamesKeys(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--flush-interval", "1m", "--flush-threshold", "100000", "--lifecycle", "manual"}})
	c := e.Client(t)
	c.MustDo(t, "agent.f1.hydrate", M{})
	becomes(t, c, "f1", "active")
	for i := range 3 {
		c.MustSet(t, "f1", fmt.Sprintf("k%d", i), i, nil)
	}
	c.MustDo(t, "agent.f1.flush", M{})
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
