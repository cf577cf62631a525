package erasure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// Two engines serve, and both know the keys of an agent. Once one of them has
// acknowledged its erasure, neither shows a value or encrypts with the destroyed key:
// what is acknowledged later stays readable.
func TestEraseWithTwoEngines(t *testing.T) {
	t.Parallel()
	nats, key := support.PlainNATS(t), newKey(t, "key", strings.Repeat("5a", 32))
	var engines [2]*harness.Engine
	for i := range engines {
		engines[i] = harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", key, "--postgres", "off", "--nats", nats}})
		engines[i].NATSURL = nats
	}
	c := engines[0].Client(t)
	past := c.MustSet(t, "a1", "k", marker, nil)
	c.MustSet(t, "a1", "k", marker+" again", nil)
	c.MustDo(t, "task.t1.create", M{"kind": "k", "agent_id": "a1", "payload": marker})

	for i := range 20 { // both engines encrypt
		c.MustSet(t, "a1", "k", fmt.Sprint(marker, i), nil)
	}
	reads := []struct {
		query string
		body  M
	}{
		{"agent.a1.get", M{"key": "k", "consistency": "strong"}},
		{"agent.a1.get", M{"key": "k", "at_revision": past.Revision}},
		{"agent.a1.history", M{"key": "k"}},
		{"task.t1.history", nil},
	}
	shown := func() (n int) {
		for range 10 { // the engines take turns by chance
			for _, r := range reads {
				answer, err := c.Query(t.Context(), "queries."+r.query, r.body)
				if refused := harness.Refused(err); err != nil && (refused == nil || refused.Status != 404) {
					t.Fatalf("%s: %v", r.query, err)
				}
				if bytes.Contains(answer, []byte(marker)) {
					n++
				}
			}
		}
		return n
	}
	if n := shown(); n != 40 {
		t.Errorf("%d of 40 answers show the value before the erasure", n)
	}
	for i, e := range engines {
		if page := e.Metrics(t.Context()); !strings.Contains(page, `agent.set"`) {
			t.Errorf("engine %d has written nothing", i)
		}
	}

	writing, stop := context.WithCancel(t.Context())
	defer stop()
	last := make(chan error, 1)
	go func() { // one client writes on and on
		for n := 0; ; n++ {
			value := fmt.Sprint("written ", n)
			if _, err := c.Set(t.Context(), "a1", "busy", value, nil); err != nil {
				last <- err
				return
			}
			if writing.Err() == nil {
				continue
			}
			got, err := c.Get(t.Context(), "a1", "busy", M{"consistency": "strong"})
			if err == nil && string(got.Value) != `"`+value+`"` {
				err = errors.New("a write that was acknowledged after the erasure reads as " + string(got.Value))
			}
			last <- err
			return
		}
	}()
	r := erase(t, c, "a1", "erase-1")
	if n := shown(); n > 0 {
		t.Errorf("%d answers show an erased value", n)
	}
	stop()
	harness.Must(t, harness.Receive(t, "the last write", last))
	if r.Erasure.Tasks != 1 || r.Erasure.DataKeys != 1 {
		t.Errorf("receipt %+v", r)
	}
	for i := range 10 { // each engine with the new key
		value := fmt.Sprint("a new life ", i)
		c.MustSet(t, "a1", "k", value, nil)
		if got := c.MustGet(t, "a1", "k", M{"consistency": "strong"}); string(got.Value) != `"`+value+`"` {
			t.Errorf("after the erasure: %s", got.Value)
		}
	}
	engines[1].Verify()
}
