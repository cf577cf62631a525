package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestRestartKeepsEverything: a clean stop and a restart change nothing in any
// tier. Versions and tokens continue.
func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	tokens := map[string]string{}
	for i := range 60 {
		key := fmt.Sprintf("k%d", i%20)
		tokens[key] = c.MustSet(t, "kept", key, i, harness.M{"strategy": "last_write_wins"}).Token
	}
	_, err := c.Command(t.Context(), "commands.agent.kept.delete", "", harness.M{"key": "k0"})
	harness.Must(t, err)
	journal := harness.States(c.CheckAll(t))
	bucket, rows := c.KV(t), c.Rows(t)
	before, err := c.Status(t.Context())
	harness.Must(t, err)

	e.Stop()
	e.Gone()
	e.Restart()
	c.CaughtUp(t)
	after, err := c.Status(t.Context())
	harness.Must(t, err)
	if after.NATS.URL != before.NATS.URL || after.Postgres.URL != before.Postgres.URL {
		t.Errorf("clients must look elsewhere: %+v, before %+v", after, before)
	}
	for place, d := range map[string]string{
		"journal": cmp.Diff(journal, harness.States(c.Journal(t))), "bucket": cmp.Diff(bucket, c.KV(t)), "agents.state": cmp.Diff(rows, c.Rows(t)),
	} {
		if d != "" {
			t.Errorf("the %s is another one: %s", place, d)
		}
	}
	for key, token := range tokens {
		for _, consistency := range []string{"hot", "cached", "durable", "strong"} {
			got, err := c.Get(t.Context(), "kept", key, harness.M{"consistency": consistency, "token": token})
			if no := harness.Refused(err); key == "k0" && no != nil && no.Status == 404 {
				continue
			}
			if err != nil || got.Version != 3 {
				t.Errorf("get %s %s: %+v %v", consistency, key, got, err)
			}
		}
	}
	if r := c.MustSet(t, "kept", "k0", "again", nil); r.Version != 5 {
		t.Errorf("the version after a restart is %d, want 5", r.Version)
	}
	c.CheckAll(t)
	e.Verify()
}

// TestStopUnderLoad: a clean stop answers every command that the engine
// accepted. Acknowledged commands are kept; refused commands leave no event.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	var all sync.WaitGroup
	var mu sync.Mutex
	acked, unanswered := map[string]harness.Receipt{}, map[string]error{}
	enough := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	for w := range 8 {
		c := e.Client(t, nats.ReconnectBufSize(-1))
		all.Go(func() {
			for n := 0; ; n++ {
				id := harness.NewID()
				r, err := c.Command(ctx, fmt.Sprintf("commands.agent.load%d.set", w), id, harness.M{"key": "k", "value": n})
				if err != nil {
					if no := harness.Refused(err); no != nil && no.Status != 503 {
						t.Errorf("refused while stopping: %v", err)
					}
					mu.Lock()
					unanswered[id] = err
					mu.Unlock()
					return
				}
				mu.Lock()
				acked[id] = r
				if len(acked) == 400 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	e.Stop()
	e.Gone()
	stop()
	all.Wait()
	e.Restart()
	journal := e.Client(t).CheckAll(t)
	kept := map[string]uint64{}
	for _, ev := range journal {
		kept[ev.CommandID] = ev.Revision
	}
	for id, r := range acked {
		if kept[id] != r.Revision {
			t.Errorf("command %s was acknowledged at revision %d, the journal has it at %d (0 = nowhere)", id, r.Revision, kept[id])
		}
	}
	for id, err := range unanswered {
		if kept[id] > 0 {
			t.Errorf("command %s was taken at revision %d and not answered: %v", id, kept[id], err)
		}
	}
	e.Verify()
}

// TestStopWhileStarting: an engine that receives SIGTERM during its start ends,
// leaves no process, and leaves data that the next start can use.
func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	e := harness.New(t, harness.Config{})
	for n := range 8 {
		e.Launch()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*150*time.Millisecond)
		<-ctx.Done() // at any moment of the start
		cancel()
		e.Interrupt()
		e.Gone()
	}
	e.Restart()
	c := e.Client(t)
	c.MustSet(t, "a", "k", 1, nil)
	c.CheckAll(t)
}

// TestKillLeavesNoPostgres: Postgres ends by itself after its engine was
// killed.
func TestKillLeavesNoPostgres(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	if n := len(harness.Processes(e.Data)); n < 3 {
		t.Fatalf("only %d processes are seen: a look that sees nothing proves nothing", n)
	}
	e.Kill()
	e.Gone()
}

// TestRefusedStarts: a start that fails gives the reason and its exit code, and
// does not disturb the engine that runs.
func TestRefusedStarts(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	harness.Must(t, err)
	defer taken.Close()
	dir := harness.TempDir(t) + "/data"
	quiet := []string{"serve", "--data", dir, "--postgres", "off", "--nats-listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	with := func(more ...string) []string { return append(append([]string(nil), quiet...), more...) }
	for _, no := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"serve", "--data", e.Data, "--nats-listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}, 1,
			[]string{"another engine serves", e.Data, fmt.Sprint(e.PID())}},
		{with("--nats-listen", taken.Addr().String()), 1, []string{"--nats-listen", "in use"}},
		{with("--http", taken.Addr().String()), 1, []string{"--http", "in use"}},
		{with("--nats-listen", "0.0.0.0:0"), 2, []string{"--nats-listen", "loopback"}},
		{with("--nats", "nats://"+taken.Addr().String()), 1, []string{"NATS"}},
		{with("--colour", "red"), 2, []string{"--colour"}},
		{with("--durability", "someday"), 2, []string{"--durability", "synced"}},
		{with("--partitions", "many"), 2, []string{"--partitions"}},
		{with("--config", dir+"/none.yaml"), 2, []string{"none.yaml"}},
		{[]string{"fly"}, 2, []string{"fly"}},
		{[]string{"send"}, 2, []string{"subject"}},
		{[]string{"query", "--data", dir, "queries.engine.status"}, 1, []string{"no engine", dir}},
	} {
		r := harness.Run(t, no.args...)
		if r.Code != no.code {
			t.Errorf("engine %v: exit code %d, want %d: %s%s", no.args, r.Code, no.code, r.Stdout, r.Stderr)
		}
		for _, word := range no.says {
			if !strings.Contains(r.Stderr, word) {
				t.Errorf("engine %v does not say %q: %s", no.args, word, r.Stderr)
			}
		}
		if left := harness.Processes(dir); len(left) > 0 {
			t.Errorf("engine %v left %v", no.args, left)
		}
	}
	e.Client(t).MustSet(t, "still", "here", true, nil)
	if help := harness.Run(t, "serve", "--help"); help.Code != 0 || !strings.Contains(help.Stdout, "--nats-listen") {
		t.Errorf("serve --help: %+v", help)
	}
}

// TestChosenPorts: every listener accepts port 0, and the engine reports the
// chosen port.
func TestChosenPorts(t *testing.T) {
	t.Parallel()
	e := harness.New(t, harness.Config{Args: []string{"--postgres", "off", "--nats-listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}})
	e.Restart()
	c := e.Client(t)
	s, err := c.Status(t.Context())
	harness.Must(t, err)
	if s.NATS.URL != e.NATSURL || strings.HasSuffix(s.NATS.URL, ":0") || s.Postgres.State != "off" {
		t.Errorf("status says %+v, the note says %s", s, e.NATSURL)
	}
	r := c.MustSet(t, "a", "k", 1, nil)
	if got := c.MustGet(t, "a", "k", harness.M{"consistency": "hot", "token": r.Token}); got.Source != "kv" {
		t.Errorf("without SQL: %+v", got)
	}
	if _, err := c.Get(t.Context(), "a", "k", harness.M{"consistency": "durable"}); harness.Refused(err) == nil {
		t.Errorf("a durable read without SQL: %v", err)
	}
}
