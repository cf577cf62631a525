package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestComputedWrites: values that the engine computes are exact under load and a kill, at
// every door, with encryption; every view and every query shows them like values that were set.
func TestComputedWrites(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "master.key")
	harness.Must(t, os.WriteFile(key, []byte(strings.Repeat("6b", 32)+"\n"), 0o600))
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", key}})
	c := e.Client(t)
	e.RunPage(t, "docs/howto/compute.md")
	computeUnderLoad(t, e, c)
	computeAtEveryDoor(t, e, c)
	e.Verify()
}

type sentCommand struct {
	verb, id string
	body     M
	receipt  harness.Receipt
}

// computeUnderLoad sends 1,000 adds and 1,000 appends to two entries from 32 clients. The engine is
// killed meanwhile; clients send what was not answered again.
func computeUnderLoad(t *testing.T, e *harness.Engine, c *harness.Client) {
	const clients, each = 32, 32
	sent := make([][]sentCommand, clients)
	var answered atomic.Int64
	half := make(chan bool, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var open sync.WaitGroup
	for i := range clients {
		own := e.Client(t)
		open.Go(func() {
			for n := range each {
				for _, s := range []sentCommand{
					{verb: "add", body: M{"key": "sum", "delta": json.RawMessage("0.1")}}, {verb: "append", body: M{"key": "list", "items": []int{i*each + n}}},
				} {
					s.id = harness.NewID()
					for {
						ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
						var err error
						s.receipt, err = own.Command(ctx, "commands.agent.load."+s.verb, s.id, s.body)
						cancel()
						if err == nil {
							break
						}
						if no := harness.Refused(err); no != nil && no.Status < 500 && no.Status != 429 || errors.Is(t.Context().Err(), context.Canceled) {
							t.Errorf("%s: %v", s.verb, err)
							return
						}
					}
					if sent[i] = append(sent[i], s); answered.Add(1) == clients*each {
						half <- true
					}
				}
			}
		})
	}
	harness.Receive(t, "half of the answers", half)
	e.Kill()
	e.Restart()
	open.Wait()
	const total = clients * each
	if got := c.MustGet(t, "load", "sum", M{"consistency": "strong"}); string(got.Value) != "102.4" || got.Version != total {
		t.Errorf("%s", got)
	}
	var list []int
	harness.Must(t, json.Unmarshal(c.MustGet(t, "load", "list", M{"consistency": "strong"}).Value, &list))
	if slices.Sort(list); len(list) != total || len(slices.Compact(list)) != total {
		t.Errorf("%d items", len(list))
	}
	all := slices.Concat(sent...)
	for range 20 {
		s := all[rand.IntN(len(all))]
		want := s.receipt
		want.Replayed = true
		if again, err := c.Command(t.Context(), "commands.agent.load."+s.verb, s.id, s.body); err != nil || again != want {
			t.Errorf("%s again: %+v, %v, first %+v", s.verb, again, err, s.receipt)
		}
	}
}

func computeAtEveryDoor(t *testing.T, e *harness.Engine, c *harness.Client) {
	first := c.MustDo(t, "agent.doors.add", M{"key": "n", "delta": 1})
	got, err := send(t, c, true, item(harness.NewID(), "agent.doors.add", M{"key": "n", "delta": 2}), item(harness.NewID(), "agent.doors.add", M{"key": "n", "delta": 3}))
	if err != nil || got.Results[0].Receipt.Value != "3" || got.Results[1].Receipt.Value != "6" {
		t.Errorf("an atomic batch: %+v, %v", got, err)
	}
	if got, err = send(t, c, false, item("", "agent.doors.add", M{"key": "n", "delta": 4}), item("", "agent.doors.merge", M{"key": "n", "value": M{}})); err != nil ||
		got.Results[0].Receipt.Value != "10" || got.Results[1].Error == nil || got.Results[1].Error.Code != "state.not_object" {
		t.Errorf("a batch: %+v, %v", got, err)
	}
	_, err = send(t, c, true, item("", "agent.doors.add", M{"key": "n", "delta": 5}), item("", "agent.doors.append", M{"key": "n", "items": []int{}}))
	harness.WantRefusal(t, "an atomic batch", err, 422, "state.not_array")

	_, err = c.JS.PublishMsg(t.Context(), &nats.Msg{Subject: "enqueue.agent.doors.add", Header: nats.Header{nats.MsgIdHdr: []string{"queued"}}, Data: []byte(`{"key":"n","delta":5}`)})
	harness.Must(t, err)
	harness.Eventually(t, "the outcome", func() error {
		text, err := c.Query(t.Context(), "queries.command.queued.get", nil)
		if err == nil && !strings.Contains(string(text), `"value":15`) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	sql := c.SQL(t)
	_, err = sql.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('row', 'agent.doors.add', '{"key":"n","delta":6}')`)
	harness.Must(t, err)
	harness.Eventually(t, "the outcome", func() error {
		var outcome string
		err := sql.QueryRow(t.Context(), `SELECT coalesce(outcome->>'value', outcome::text, '') FROM agents.outbox WHERE command_id = 'row'`).Scan(&outcome)
		if err == nil && outcome != "21" {
			err = fmt.Errorf("it is %q", outcome)
		}
		return err
	})
	c.MustDo(t, "agent.copy.fork", M{"from": "doors"})
	if r := c.MustDo(t, "agent.copy.add", M{"key": "n", "delta": json.RawMessage("1e-1")}); r.Value != "21.1" || r.Version != 2 {
		t.Errorf("of a copy: %+v", r)
	}
	if got := c.MustGet(t, "doors", "n", M{"at_revision": first.Revision}); string(got.Value) != "1" {
		t.Errorf("in the past: %s", got)
	}
}
