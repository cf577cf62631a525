package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestClaims: one holder at a time, at every door of two engines, with rising fences, over a
// kill; leases end by themselves; batches take effect only while their requirements hold;
// every view and query shows the same.
func TestClaims(t *testing.T) {
	t.Parallel()
	engines, sql := twoEngines(t, "docs/howto/claims.md")
	e := engines[0]
	c := e.Client(t)
	claimRaces(t, e, c)
	claimsAtEveryDoor(t, c)
	claimPast(t, c)
	requireAcrossEngines(t, e, c)
	for _, args := range [][]string{{"verify"}, {"rebuild", "durable"}, {"rebuild", "hot"}, {"verify"}} {
		if r := e.Run(args[0], append(args[1:], "--postgres", sql)...); r.Code != 0 {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// claimRaces lets 20 owners race for one claim in rounds. The engine is killed meanwhile;
// owners send what was not answered again. Each round the winner releases.
func claimRaces(t *testing.T, e *harness.Engine, c *harness.Client) {
	const owners, rounds = 20, 6
	var mu sync.Mutex
	var fences []uint64
	type owner struct {
		c    *harness.Client
		name string
	}
	var all []owner
	for i := range owners {
		all = append(all, owner{e.Client(t), fmt.Sprintf("o%d", i)})
	}
	do := func(o owner, verb string, body M) (harness.Receipt, error) {
		for id := harness.NewID(); ; {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			r, err := o.c.Command(ctx, "commands.claim.race."+verb, id, body)
			cancel()
			if no := harness.Refused(err); err == nil || no != nil && no.Status < 500 || t.Context().Err() != nil {
				return r, err
			}
		}
	}
	for round := range rounds {
		var winners []owner
		var open sync.WaitGroup
		for _, o := range all {
			open.Go(func() {
				r, err := do(o, "acquire", M{"owner": o.name, "lease_ms": 600_000, "data": round})
				switch no := harness.Refused(err); {
				case err == nil:
					mu.Lock()
					defer mu.Unlock()
					winners, fences = append(winners, o), append(fences, r.Version)
				case no == nil || no.Code != "claim.held" || !strings.Contains(string(no.Body), `"owner":"o`) || !strings.Contains(string(no.Body), `"expires_at":"`):
					t.Errorf("%s: %v", o.name, err)
				}
			})
		}
		if round == rounds/2 {
			e.Kill()
			e.Restart()
		}
		open.Wait()
		if len(winners) != 1 {
			t.Fatalf("round %d: %d winners", round, len(winners))
		}
		if _, err := do(winners[0], "release", M{"owner": winners[0].name, "fence": fences[round]}); err != nil {
			t.Fatalf("round %d: release: %v", round, err)
		}
	}
	for i := 1; i < len(fences); i++ {
		if fences[i] <= fences[i-1] {
			t.Errorf("fences %d", fences)
		}
	}
	refused(t, c, "commands.claim.race.renew", M{"owner": "o1", "fence": fences[0]}, 409, "claim.fenced")
}

type claimRow struct {
	ID        string    `json:"claim_id"`
	Status    string    `json:"status"`
	Owner     string    `json:"owner"`
	Fence     uint64    `json:"fence"`
	Version   uint64    `json:"version"`
	ExpiresAt time.Time `json:"expires_at"`
}

func claimOf(t *testing.T, c *harness.Client, id string, body any) (row claimRow) {
	t.Helper()
	answer, err := c.Query(t.Context(), "queries.claim."+id+".get", body)
	harness.Must(t, err)
	harness.Must(t, json.Unmarshal(answer, &row))
	return row
}

func claimsAtEveryDoor(t *testing.T, c *harness.Client) {
	got, err := send(t, c, true,
		item("", "claim.door.acquire", M{"owner": "a", "lease_ms": 600_000}), item("", "claim.door.renew", M{"owner": "a", "fence": 1}),
		item("", "claim.door.release", M{"owner": "a", "fence": 2}), item("", "claim.door.acquire", M{"owner": "b"}))
	if err != nil || got.Results[3].Receipt.Version != 4 {
		t.Errorf("an atomic batch: %+v, %v", got, err)
	}
	if got, err = send(t, c, false, item("", "claim.door.acquire", M{"owner": "a"}), item("", "claim.door.acquire", M{"owner": "b"})); err != nil ||
		got.Results[0].Error == nil || got.Results[0].Error.Code != "claim.held" || got.Results[1].Receipt == nil || got.Results[1].Receipt.Outcome != "unchanged" {
		t.Errorf("a batch: %+v, %v", got, err)
	}
	_, err = c.JS.PublishMsg(t.Context(), &nats.Msg{Subject: "enqueue.claim.door.release", Header: nats.Header{nats.MsgIdHdr: []string{"queued-claim"}}, Data: []byte(`{"owner":"b","fence":4}`)})
	harness.Must(t, err)
	harness.Eventually(t, "the outcome", func() error {
		text, err := c.Query(t.Context(), "queries.command.queued-claim.get", nil)
		if err == nil && !strings.Contains(string(text), `"version":5`) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	sql := c.SQL(t)
	_, err = sql.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('row', 'claim.door.acquire', '{"owner":"c","lease_ms":1500}')`)
	harness.Must(t, err)
	harness.Eventually(t, "the claim of the outbox expires by itself", func() error {
		var version uint64
		var status, owner string
		err := sql.QueryRow(t.Context(), `SELECT status, owner, version FROM agents.claims WHERE claim_id = 'door'`).Scan(&status, &owner, &version)
		if err == nil && (status != "expired" || owner != "c" || version != 7) {
			err = fmt.Errorf("it is %s by %s, version %d", status, owner, version)
		}
		if err == nil {
			err = inBucket(t, c, "door", 7)
		}
		return err
	})
	var page struct {
		Claims []claimRow `json:"claims"`
	}
	answer, err := c.Query(t.Context(), "queries.claims.list", M{"owner": "c", "prefix": "do", "status": "expired"})
	harness.Must(t, err)
	harness.Must(t, json.Unmarshal(answer, &page))
	if len(page.Claims) != 1 || page.Claims[0].ID != "door" {
		t.Errorf("the list: %s", answer)
	}
	refused(t, c, "commands.claim.door.expire", M{}, 404, "command.unknown")
}

// inBucket fails unless KV has a claim in a version.
func inBucket(t *testing.T, c *harness.Client, id string, version uint64) error {
	bucket, err := c.JS.KeyValue(t.Context(), "CLAIM_STATE")
	if err != nil {
		return err
	}
	entry, err := bucket.Get(t.Context(), id)
	if err != nil {
		return err
	}
	var row claimRow
	if err := json.Unmarshal(entry.Value(), &row); err != nil || row.Version != version {
		return fmt.Errorf("KV has %s", entry.Value())
	}
	return nil
}

// claimPast asks for the holders of the past.
func claimPast(t *testing.T, c *harness.Client) {
	first := c.MustDo(t, "claim.past.acquire", M{"owner": "a"})
	c.MustDo(t, "claim.past.release", M{"owner": "a", "fence": first.Version})
	third := c.MustDo(t, "claim.past.acquire", M{"owner": "b"})
	if row := claimOf(t, c, "past", M{"at_revision": first.Revision}); row.Owner != "a" || row.Status != "held" || row.Fence != 1 {
		t.Errorf("then: %+v", row)
	}
	if row := claimOf(t, c, "past", M{"token": third.Token}); row.Owner != "b" || row.Fence != 3 {
		t.Errorf("now: %+v", row)
	}
}

// requireAcrossEngines lets clients of both engines spend a budget of 20: each batch adds to an own
// counter and requires the versions of both others, of which it has read the sum.
func requireAcrossEngines(t *testing.T, e *harness.Engine, c *harness.Client) {
	const counters, budget = 3, 20
	for i := range counters {
		c.MustDo(t, "agent.budget.set", M{"key": fmt.Sprint("n", i), "value": 0})
	}
	var open sync.WaitGroup
	for i := range counters {
		own := e.Client(t)
		open.Go(func() {
			for t.Context().Err() == nil {
				sum, require := 0, []M{}
				for k := range counters {
					key := fmt.Sprint("n", k)
					got := own.MustGet(t, "budget", key, M{"consistency": "strong"})
					var n int
					_ = json.Unmarshal(got.Value, &n)
					sum += n
					require = append(require, M{"subject": "agent.budget", "key": key, "version": got.Version})
				}
				if sum == budget {
					return
				}
				body, _ := json.Marshal(M{"atomic": true, "require": require, "commands": []M{item("", "agent.budget.add", M{"key": fmt.Sprint("n", i), "delta": 1})}})
				_, err := own.Ask(t.Context(), &nats.Msg{Subject: "commands.batch", Data: body, Header: nats.Header{}})
				if no := harness.Refused(err); err != nil && (no == nil || no.Code != "require.failed" || !strings.Contains(string(no.Body), `"index":`)) {
					t.Errorf("a batch: %v", err)
					return
				}
			}
		})
	}
	open.Wait()
	sum := 0
	for k := range counters {
		var n int
		harness.Must(t, json.Unmarshal(c.MustGet(t, "budget", fmt.Sprint("n", k), M{"consistency": "strong"}).Value, &n))
		sum += n
	}
	if sum != budget {
		t.Errorf("%d of %d were spent", sum, budget)
	}
}
