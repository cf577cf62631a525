package scenarios

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

type results struct {
	Results []struct {
		Receipt *harness.Receipt `json:"receipt"`
		Error   *struct {
			Code string `json:"code"`
		} `json:"error"`
	} `json:"results"`
}

// item is one command of a batch.
func item(id, subject string, body any) M { return M{"id": id, "subject": subject, "body": body} }

func send(t *testing.T, c *harness.Client, atomic bool, items ...M) (results, error) {
	t.Helper()
	body, err := json.Marshal(M{"atomic": atomic, "commands": items})
	harness.Must(t, err)
	answer, err := c.Ask(t.Context(), &nats.Msg{Subject: "commands.batch", Data: body, Header: nats.Header{}})
	var got results
	if err == nil {
		err = json.Unmarshal(answer, &got)
	}
	return got, err
}

// TestBatches: batches of single commands, and atomic ones.
func TestBatches(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	t.Run("alone", func(t *testing.T) { aloneInBatch(t, c) })
	t.Run("atomic", func(t *testing.T) { atomicBatch(t, c) })
	t.Run("transfers", func(t *testing.T) { transfers(t, c) })
	t.Run("refused", func(t *testing.T) { refusedBatches(t, c) })
	c.CheckAll(t)
	e.Verify()
}

func aloneInBatch(t *testing.T, c *harness.Client) {
	var items []M
	for i := range 200 {
		subject := fmt.Sprintf("agent.many%d.set", i%20) // as in the wire contract
		if i%2 == 1 {
			subject = "commands." + subject
		}
		items = append(items, item("", subject, M{"key": "n", "value": i, "strategy": "last_write_wins"}))
	}
	items = append(items, item("", "task.absent.complete", M{}), item("", "nothing", M{}))
	got, err := send(t, c, false, items...)
	if err != nil || len(got.Results) != len(items) {
		t.Fatalf("%d results, %v", len(got.Results), err)
	}
	for i := range 200 {
		if r := got.Results[i].Receipt; r == nil || r.Version != uint64(i/20+1) {
			t.Fatalf("command %d: %+v", i, got.Results[i])
		}
	}
	if last := got.Results[200].Error; last == nil || last.Code != "task.not_found" {
		t.Errorf("the refused one: %+v", got.Results[200])
	}
	if last := got.Results[201].Error; last == nil || last.Code != "command.unknown" {
		t.Errorf("the one that is no command: %+v", got.Results[201])
	}
	if got := c.MustGet(t, "many7", "n", M{"consistency": "strong"}); string(got.Value) != "187" {
		t.Errorf("the last of an aggregate's commands does not stand: %+v", got)
	}
}

func atomicBatch(t *testing.T, c *harness.Client) {
	ids := []string{harness.NewID(), harness.NewID(), harness.NewID()}
	items := []M{
		item(ids[0], "commands.agent.at1.set", M{"key": "x", "value": 1, "expected_version": 0}),
		item(ids[1], "commands.agent.at1.set", M{"key": "x", "value": 2, "expected_version": 1}),
		item(ids[2], "commands.task.at1.create", M{"kind": "k"}),
	}
	for again := range 2 {
		got, err := send(t, c, true, items...)
		if err != nil {
			t.Fatalf("time %d: %v", again, err)
		}
		for i, r := range got.Results {
			if r.Receipt == nil || r.Receipt.Replayed != (again == 1) || r.Receipt.CommandID != ids[i] {
				t.Errorf("time %d, command %d: %+v", again, i, r.Receipt)
			}
		}
	}
	_, err := send(t, c, true,
		item("", "commands.agent.at2.set", M{"key": "x", "value": 1}),
		item("", "commands.task.at1.complete", M{}),
		item("", "commands.agent.at3.set", M{"key": "x", "value": 1}))
	if r := harness.Refused(err); r == nil || r.Code != "task.not_started" || !strings.Contains(string(r.Body), `"index":1`) {
		t.Errorf("an atomic batch with a culprit: %v", err)
	}
	for _, agent := range []string{"at2", "at3"} {
		if _, err := c.Get(t.Context(), agent, "x", M{"consistency": "strong"}); harness.Refused(err) == nil {
			t.Errorf("%s took part in a refused batch", agent)
		}
	}
}

// transfers moves amounts between two accounts from many clients at once; the
// sum stays the same.
func transfers(t *testing.T, c *harness.Client) {
	c.MustDo(t, "agent.bank.set", M{"key": "a", "value": 1000})
	c.MustDo(t, "agent.bank.set", M{"key": "b", "value": 0})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for done := 0; done < 5; {
				a := c.MustGet(t, "bank", "a", M{"consistency": "strong"})
				b := c.MustGet(t, "bank", "b", M{"consistency": "strong"})
				var x, y int
				if json.Unmarshal(a.Value, &x) != nil || json.Unmarshal(b.Value, &y) != nil {
					t.Errorf("balances %s %s", a.Value, b.Value)
					return
				}
				_, err := send(t, c, true,
					item(harness.NewID(), "commands.agent.bank.set", M{"key": "a", "value": x - 10, "expected_version": a.Version}),
					item(harness.NewID(), "commands.agent.bank.set", M{"key": "b", "value": y + 10, "expected_version": b.Version}))
				switch r := harness.Refused(err); {
				case err == nil:
					done++
				case r == nil || r.Status != 409:
					t.Errorf("transfer: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	a, b := c.MustGet(t, "bank", "a", M{"consistency": "strong"}), c.MustGet(t, "bank", "b", M{"consistency": "strong"})
	if string(a.Value) != "600" || string(b.Value) != "400" {
		t.Errorf("after 40 transfers of 10: %s and %s", a.Value, b.Value)
	}
}

func refusedBatches(t *testing.T, c *harness.Client) {
	var many []M
	for range 501 {
		many = append(many, item("", "commands.agent.x.set", M{"key": "k", "value": 1}))
	}
	same := harness.NewID()
	for name, b := range map[string]struct {
		items []M
		code  string
	}{
		"none":     {[]M{}, "batch.size"},
		"too many": {many, "batch.size"},
		"nested":   {[]M{item("", "commands.batch", M{})}, "command.unknown"},
		"bad body": {[]M{item("", "commands.agent.x.set", M{"key": "k"})}, "body.missing_field"},
		"same id twice": {[]M{
			item(same, "commands.agent.x.set", M{"key": "k", "value": 1}),
			item(same, "commands.agent.x.set", M{"key": "k", "value": 1})}, "batch.repeated_id"},
	} {
		if _, err := send(t, c, true, b.items...); harness.Refused(err) == nil || harness.Refused(err).Code != b.code {
			t.Errorf("%s: %v, want %s", name, err, b.code)
		}
	}
}
