package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// cluster is three NATS servers, one database and two engines, with sessions whose
// reads must never be stale and with writers of the same few entries.
type cluster struct {
	t       *testing.T
	nodes   nodes
	sql     *external
	engines []*harness.Engine
	clients []*harness.Client
	*sessions
	load  *load
	began time.Time
}

func startCluster(t *testing.T) *cluster {
	c := &cluster{t: t, began: time.Now(), nodes: startNodes(t), sql: startExternal(t)}
	for i := range 2 {
		c.engines = append(c.engines, harness.Start(t, harness.Config{Args: []string{"--nats", c.nodes.urls(i)}, SQL: c.sql.URL()}))
	}
	for i := range c.nodes {
		c.clients = append(c.clients, c.nodes.from(c.engines[0], i).Client(t, failover...))
	}
	c.sessions = startSessions(t, c.clients, 2)
	c.load = newLoad(t, 10*time.Millisecond, false)
	c.load.opts, c.load.answer = failover, 12*time.Second
	for i := range c.nodes {
		c.load.start(c.nodes.from(c.engines[0], i), 2)
	}
	return c
}

// recovered waits until every stream has its replicas, both engines are ready and
// every view runs in one of them and has caught up. It returns how long that took.
func (c *cluster) recovered(what string) time.Duration {
	c.t.Helper()
	began := time.Now()
	c.acked(harness.Patience)
	for _, e := range c.engines {
		harness.Eventually(c.t, "ready after "+what, func() error {
			if code, body := e.Ready(); code != 200 {
				return fmt.Errorf("/readyz says %d %s", code, body)
			}
			return nil
		})
	}
	c.viewsRun(harness.Patience)
	took := time.Since(began)
	c.nodes.settled()
	c.t.Logf("%s: recovered after %s (%s since the start)", what, took.Round(time.Millisecond), time.Since(c.began).Round(time.Second))
	return took
}

// viewsRun waits until each view runs in one of the engines.
func (c *cluster) viewsRun(within time.Duration) {
	c.t.Helper()
	harness.Within(c.t, within, "every view runs in one engine", func() error {
		running := map[string]int{}
		for _, e := range c.engines {
			_, body := e.Ready()
			for _, view := range []string{"hot", "durable", "archive", "feeds", "notifications"} {
				_, state, _ := strings.Cut(body, `"name":"`+view+`"`)
				if state, _, _ = strings.Cut(state, "}"); strings.Contains(state, `"state":"running"`) {
					running[view]++
				}
			}
		}
		if len(running) < 5 {
			return fmt.Errorf("running: %v", running)
		}
		return nil
	})
}

// frozen is how long commands may pause while one server is silent. The servers take
// up to 9 seconds to elect a leader.
const frozen = 10 * time.Second

// TestCluster: two engines on three NATS servers. No read with a token is stale,
// whichever engine and server answers it, while servers resign, are killed, frozen,
// and lose their majority; commands go on within seconds; a repeated command is
// answered by either engine as the first time; and the views equal the journal.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.sessions.wait(harness.Rounds(20, 1000))
	c.resign()
	if harness.Long() {
		for _, stream := range []string{"EVENTS", "KV_AGENT_STATE", "KV_TIDEMARK_LEASES"} {
			c.kill(stream)
			c.freeze(stream)
			c.resign()
		}
		c.startWithoutOne()
		c.noMajority()
		c.sessions.wait(1000)
	}
	c.finish()
}

// resign makes the leaders of the streams that matter resign.
func (c *cluster) resign() {
	c.t.Helper()
	for _, stream := range []string{"EVENTS", "KV_AGENT_STATE", "KV_TIDEMARK_LEASES"} {
		c.nodes.stepDown(stream)
		c.sessions.wait(harness.Rounds(3, 150))
	}
	c.recovered("leaders resign")
}

// kill kills the leader of a stream, and starts it again when the cluster has worked
// without it for a while.
func (c *cluster) kill(stream string) {
	c.t.Helper()
	n, from := c.nodes.leader(stream), time.Now()
	n.kill()
	c.sessions.wait(450)
	c.paused("the leader of "+stream+" is killed", from)
	n.start()
	c.recovered("kill -9 of the leader of " + stream)
}

// freeze stops the leader of a stream with SIGSTOP for half a minute; commands go on
// long before its end.
func (c *cluster) freeze(stream string) {
	c.t.Helper()
	n, from := c.nodes.leader(stream), time.Now()
	n.freeze()
	pause(c.t.Context(), 30*time.Second)
	c.paused("the leader of "+stream+" is frozen", from)
	n.thaw()
	c.recovered("a frozen leader of " + stream)
}

// paused reports for how long no command was acknowledged since from.
func (c *cluster) paused(what string, from time.Time) {
	c.t.Helper()
	gap := c.longestGap(from)
	c.t.Logf("%s: commands paused for %s", what, gap.Round(time.Millisecond))
	if gap > frozen {
		c.t.Errorf("%s: no acknowledgement for %s", what, gap)
	}
}

// startWithoutOne starts an engine while one of the servers is down.
func (c *cluster) startWithoutOne() {
	c.t.Helper()
	for i, n := range c.nodes {
		c.engines[1].Stop()
		n.kill()
		c.engines[1].Restart()
		c.sessions.wait(50)
		n.start()
		c.recovered(fmt.Sprintf("start of an engine without server %d", i))
	}
}

// noMajority leaves one server alone for more than a minute.
func (c *cluster) noMajority() {
	c.t.Helper()
	c.nodes[0].freeze()
	c.nodes[1].kill()
	for _, e := range c.engines {
		harness.Within(c.t, 15*time.Second, "the engine says that it cannot execute commands", func() error {
			if code, body := e.Ready(); code != 503 {
				return fmt.Errorf("/readyz says %d %s", code, body)
			}
			return nil
		})
	}
	pause(c.t.Context(), 65*time.Second)
	c.nodes[0].thaw()
	c.nodes[1].start()
	if took := c.recovered("no majority for a minute"); took > 30*time.Second {
		c.t.Errorf("recovered only after %s", took)
	}
}

// finish judges what clients saw, and compares both engines and all stores.
func (c *cluster) finish() {
	c.t.Helper()
	text := c.sessions.judge(c.clients)
	c.t.Log(text)
	c.load.stop()
	for i, e := range c.engines {
		if n := answers(e); n < 100 {
			c.t.Errorf("engine %d answered only %d requests", i, n)
		}
	}
	c.engines[1].Stop()
	c.clients[0].CaughtUp(c.t) // the other engine runs all views before this one is back
	c.engines[1].Restart()
	c.load.judgeOthers(c.engines[0], "ts")
	c.engines[1].Verify()
}

// answers is how many requests an engine has answered.
func answers(e *harness.Engine) (n int) {
	for line := range strings.Lines(e.Metrics(context.Background())) {
		if strings.HasPrefix(line, "tidemark_requests_total") {
			var count int
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &count); err == nil {
				n += count
			}
		}
	}
	return n
}
