package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// entriesAnAgent is how many entries each agent of the model has.
const entriesAnAgent = 10

// model is a set of aggregates: state entries, ten for each agent.
type model struct{ entries int }

func (m model) name(i int) (agent, key string) {
	return "s" + strconv.Itoa(i/entriesAnAgent), "k" + strconv.Itoa(i%entriesAnAgent)
}

// pad fills values to about the 256 bytes that the benchmarks use.
var pad = strings.Repeat("x", 220)

// fill writes events over the entries of the model, round by round, in batches
// of several clients. Each client has its own entries.
func (m model) fill(t *testing.T, e *harness.Engine, events int) {
	const clients, batch = 8, 250
	began := time.Now()
	var writing sync.WaitGroup
	var failed atomic.Pointer[error]
	for c := range clients {
		nc := e.Client(t)
		writing.Go(func() {
			var cmds []harness.M
			flush := func() {
				for len(cmds) > 0 && failed.Load() == nil {
					var err error
					if cmds, err = send(t.Context(), nc, cmds); err != nil {
						failed.Store(&err)
					}
				}
			}
			for i := c; i < events && failed.Load() == nil; i += clients {
				// An entry belongs to one client, else batches wait for each
				// other.
				agent, key := m.name((i/clients*clients + c) % (m.entries / clients * clients))
				cmds = append(cmds, harness.M{"subject": "agent." + agent + ".set", "id": harness.NewID(), "body": harness.M{
					"key": key, "strategy": "last_write_wins", "value": harness.M{"n": i, "pad": pad},
				}})
				if len(cmds) == batch {
					flush()
				}
			}
			flush()
		})
	}
	writing.Wait()
	if err := failed.Load(); err != nil {
		t.Fatalf("fill: %v", *err)
	}
	took := time.Since(began)
	t.Logf("%d commands in batches of %d by %d clients: %.1f s, %.0f/s", events, batch, clients, took.Seconds(), float64(events)/took.Seconds())
}

// send executes a batch and returns the commands to repeat under the same ids:
// on a busy machine some time out. All others must be accepted.
func send(ctx context.Context, nc *harness.Client, cmds []harness.M) (again []harness.M, err error) {
	body, err := json.Marshal(harness.M{"atomic": false, "commands": cmds})
	if err != nil {
		return nil, err
	}
	answer, err := nc.Ask(ctx, &nats.Msg{Subject: "commands.batch", Data: body})
	if err != nil {
		return nil, err
	}
	var got struct {
		Results []struct {
			Receipt *harness.Receipt `json:"receipt"`
			Error   *harness.Refusal `json:"error"`
		} `json:"results"`
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return nil, err
	}
	if len(got.Results) != len(cmds) {
		return nil, fmt.Errorf("%d results for %d commands", len(got.Results), len(cmds))
	}
	for i, r := range got.Results {
		switch {
		case r.Error != nil && (r.Error.Kind == "unavailable" || r.Error.Kind == "overloaded"):
			again = append(again, cmds[i])
		case r.Receipt == nil || r.Receipt.Outcome != "accepted":
			return nil, fmt.Errorf("%v %v", r.Receipt, r.Error)
		}
	}
	return again, nil
}

// traffic is one writer and some readers that run until stop.
type traffic struct {
	writes, reads atomic.Int64
	wrong         sync.Map // what went wrong, once each
	cancel        context.CancelFunc
	running       sync.WaitGroup
}

func (tr *traffic) complain(format string, args ...any) {
	tr.wrong.Store(fmt.Sprintf(format, args...), true)
}

// start runs a writer, which pauses between writes, and readers at every
// consistency. A reader remembers the version of each entry, by consistency: no
// read may fail or be older. Every eighth read carries the token of the last
// write.
func start(t *testing.T, e *harness.Engine, m model, readers int, pause time.Duration) *traffic {
	tr := &traffic{}
	ctx, cancel := context.WithCancel(context.Background())
	tr.cancel = cancel
	var last atomic.Pointer[harness.Receipt]
	writer := e.Client(t)
	tr.running.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			agent, key := m.name(rand.IntN(m.entries))
			r, err := writer.Set(context.WithoutCancel(ctx), agent, key, harness.M{"live": true, "pad": pad}, harness.M{"strategy": "last_write_wins"})
			if err != nil {
				tr.complain("write %s.%s: %v", agent, key, err)
				continue
			}
			last.Store(&r)
			tr.writes.Add(1)
		}
	})
	for i := range readers {
		nc := e.Client(t)
		consistency := []string{"cached", "hot", "durable", "strong"}[i%4]
		tr.running.Go(func() { tr.read(ctx, nc, m, consistency, &last) })
	}
	return tr
}

func (tr *traffic) read(ctx context.Context, nc *harness.Client, m model, consistency string, last *atomic.Pointer[harness.Receipt]) {
	seen := map[string]uint64{}
	for n := 0; ctx.Err() == nil; n++ {
		agent, key := m.name(rand.IntN(min(m.entries, 2000))) // few enough to meet again
		more, least := harness.M{"consistency": consistency}, uint64(0)
		if r := last.Load(); r != nil && n%8 == 0 {
			agent, key, least = r.ID, r.Key, r.Version
			more["token"] = r.Token
			more["wait_ms"] = 60_000
		}
		got, err := nc.Get(context.WithoutCancel(ctx), agent, key, more)
		name := agent + "." + key
		switch {
		case err != nil:
			tr.complain("%s read of %s: %v", consistency, name, err)
		case got.Version < max(seen[name], least):
			tr.complain("%s read of %s went back from version %d to %d (source %s)", consistency, name, max(seen[name], least), got.Version, got.Source)
		}
		seen[name] = max(seen[name], got.Version)
		tr.reads.Add(1)
	}
}

// stop ends the traffic and fails the test for each error.
func (tr *traffic) stop(t *testing.T) {
	t.Helper()
	tr.cancel()
	tr.running.Wait()
	shown := 0
	tr.wrong.Range(func(what, _ any) bool {
		t.Error(what)
		shown++
		return shown < 20
	})
	if tr.writes.Load() == 0 || tr.reads.Load() == 0 {
		t.Error("nothing was written or read meanwhile")
	}
	t.Logf("meanwhile %d writes and %d reads, none failed, none went back", tr.writes.Load(), tr.reads.Load())
}
