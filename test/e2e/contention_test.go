package e2e

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// everywhere checks that every tier shows the same value and version of an
// entry. A nil value means that the entry does not exist.
func everywhere(t *testing.T, c *harness.Client, agent, key string, want []byte, version uint64) {
	t.Helper()
	c.CaughtUp(t)
	shown := map[string]harness.Row{}
	for _, consistency := range []string{"cached", "hot", "durable", "strong"} {
		got, err := c.Get(t.Context(), agent, key, harness.M{"consistency": consistency})
		if no := harness.Refused(err); no != nil && no.Status == 404 {
			continue
		}
		harness.Must(t, err)
		shown[consistency] = harness.Row{Value: got.Value, Version: got.Version}
	}
	if row, ok := c.KV(t)[agent+"."+key]; ok {
		shown["the bucket"] = row
	}
	if row, ok := c.Rows(t)[agent+"."+key]; ok {
		shown["agents.state"] = row
	}
	if want == nil && len(shown) > 0 || want != nil && len(shown) != 6 {
		t.Errorf("%s.%s should be %q and is seen as %v", agent, key, want, shown)
	}
	for place, row := range shown {
		if string(row.Value) != string(want) || version != 0 && row.Version != version {
			t.Errorf("%s shows %s.%s as %s, version %d; want %s, version %d", place, agent, key, row.Value, row.Version, want, version)
		}
	}
}

// lastWriteWins: 32 writers set one key. No write is lost; the order of the
// journal decides.
func lastWriteWins(t *testing.T, e *harness.Engine) {
	const writers, each = 32, 20
	var all sync.WaitGroup
	var mu sync.Mutex
	versions := map[uint64]string{}
	for w := range writers {
		c := e.Client(t)
		all.Go(func() {
			for n := range each {
				value := fmt.Sprintf(`"%d-%d"`, w, n)
				r, err := c.Command(t.Context(), "commands.agent.crowd.set", harness.NewID(),
					`{"key":"one","strategy":"last_write_wins","value":`+value+`}`)
				if err != nil || r.Outcome != "accepted" {
					t.Errorf("writer %d, write %d: %+v %v", w, n, r, err)
					return
				}
				mu.Lock()
				if other, taken := versions[r.Version]; taken {
					t.Errorf("version %d was given to %s and to %s", r.Version, other, value)
				}
				versions[r.Version] = value
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for v := uint64(1); v <= writers*each; v++ {
		if versions[v] == "" {
			t.Errorf("no receipt has version %d", v)
		}
	}
	everywhere(t, e.Client(t), "crowd", "one", []byte(versions[writers*each]), writers*each)
}

// timestampsConverge: the same writes give the same state in any order of
// arrival, deletions and equal timestamps among them. The writer decides
// between equal timestamps, then the command id.
func timestampsConverge(t *testing.T, e *harness.Engine) {
	type write struct {
		at     time.Time
		writer string
		id     string
		verb   string
		value  []byte // nil = a delete
	}
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, round := range []struct {
		name string
		last bool // whether the greatest of all is a delete
	}{{"set", false}, {"delete", true}} {
		var writes []write
		for i := range 60 {
			w := write{
				at:     base.Add(time.Duration(rand.IntN(12)) * time.Nanosecond), // about five writes have the same
				writer: fmt.Sprintf("w%d", rand.IntN(4)), id: harness.NewID(), verb: "set",
			}
			if i%4 == 3 {
				w.verb = "delete"
			} else {
				w.value = []byte(fmt.Sprintf(`{"n":%d}`, i))
			}
			writes = append(writes, w)
		}
		order := func(a, b write) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.writer, b.writer), cmp.Compare(a.id, b.id))
		}
		top := slices.MaxFunc(writes, order)
		final := write{at: top.at, writer: top.writer, id: harness.NewID(), verb: "set", value: []byte(`"last"`)}
		if round.last {
			final.verb, final.value = "delete", nil
		}
		writes[0] = final // equal time and writer: the command id decides
		winner := slices.MaxFunc(writes, order)

		c := e.Client(t)
		var all sync.WaitGroup
		for k := range 5 {
			shuffled := slices.Clone(writes)
			rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			key := fmt.Sprintf("%s%d", round.name, k)
			for _, w := range shuffled {
				value := ""
				if w.value != nil {
					value = `"value":` + string(w.value) + `,`
				}
				body := fmt.Sprintf(`{"key":%q,%s"strategy":"timestamp","timestamp":%q,"writer":%q}`,
					key, value, w.at.Format(time.RFC3339Nano), w.writer)
				all.Go(func() {
					r, err := c.Command(context.Background(), "commands.agent.clocks."+w.verb, w.id, body)
					if err != nil || r.Outcome != "accepted" && r.Outcome != "superseded" {
						t.Errorf("%s %s: %+v %v", key, body, r, err)
					}
				})
			}
		}
		all.Wait()
		for k := range 5 {
			everywhere(t, c, "clocks", fmt.Sprintf("%s%d", round.name, k), winner.value, 0)
		}
	}
}

// readYourWrites: a read with the token of a receipt sees at least that write,
// from every tier.
func readYourWrites(t *testing.T, e *harness.Engine) {
	const readers, each = 4, 50
	var all sync.WaitGroup
	for w := range readers {
		c := e.Client(t)
		other := e.Client(t) // reads may use another connection
		all.Go(func() {
			for n := range each {
				key := fmt.Sprintf("k%d", n%7)
				r, err := c.Set(t.Context(), fmt.Sprintf("reader%d", w), key, n, harness.M{"strategy": "last_write_wins"})
				if err != nil {
					t.Errorf("set: %v", err)
					return
				}
				for _, consistency := range []string{"cached", "hot", "durable", "strong"} {
					got, err := other.Get(t.Context(), fmt.Sprintf("reader%d", w), key,
						harness.M{"token": r.Token, "consistency": consistency, "wait_ms": 60000})
					if err != nil || got.Version < r.Version || string(got.Value) != fmt.Sprint(n) {
						t.Errorf("get %s after version %d: %+v %v", consistency, r.Version, got, err)
					}
				}
			}
		})
	}
	all.Wait()
}
