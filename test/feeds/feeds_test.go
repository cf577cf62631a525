package feeds

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestSubjects: the feeds publish each event of their kinds once, byte for
// byte, on its subject, and nothing else.
func TestSubjects(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	s, err := e.OperatorJetStream(t).Stream(t.Context(), "TASK_EXECUTION")
	harness.Must(t, err)
	_, err = s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "all", AckPolicy: jetstream.AckExplicitPolicy})
	harness.Must(t, err) // the stream keeps only messages that a consumer wants

	c.MustSet(t, "a1", "mood.now", "good", nil)
	c.MustSet(t, "a1", "mood.now", "better", nil)
	c.MustDo(t, "agent.a1.delete", harness.M{"key": "mood.now"})
	c.MustDo(t, "agent.a1.hydrate", nil)
	c.AwaitEvent(t, "a1 is hydrated", harness.Patience, func(ev harness.Event) bool { return ev.Type == "agent.hydrated" })
	c.MustDo(t, "config.a1.set", harness.M{"key": "k", "value": 1})
	c.MustDo(t, "session.s1.open", harness.M{"owner": "a1"})
	for _, id := range []string{"t1", "t2", "kv"} {
		c.MustDo(t, "task."+id+".create", harness.M{"kind": "k"})
	}
	c.MustDo(t, "task.t1.start", harness.M{"agent_id": "a1"})
	c.MustDo(t, "task.t1.progress", harness.M{"percent": 50})
	c.MustDo(t, "task.t1.fail", harness.M{"reason": "too-hot", "detail": "any text. at all"})
	c.MustDo(t, "task.t1.start", harness.M{"agent_id": "a2"})
	c.MustDo(t, "task.t1.complete", nil)
	c.MustDo(t, "task.t2.cancel", nil)
	c.CaughtUp(t)

	bodies := map[string][]byte{}
	for _, ev := range c.Journal(t) {
		bodies[strconv.FormatUint(ev.Revision, 10)] = ev.Raw
	}
	want := []string{
		"agents.state.a1.mood.now", "agents.state.a1.mood.now", "agents.state.a1.mood.now", "agents.lifecycle.a1.hydration_started",
		"agents.lifecycle.a1.hydrated",
		"tasks.created.t1", "tasks.created.t2", "tasks.created.kv", "tasks.started.t1.a1", "tasks.failed.t1.too-hot",
		"tasks.started.t1.a2", "tasks.completed.t1", "tasks.cancelled.t2",
	}
	var got []string
	for _, h := range append(stream(t, c, "AGENT_STATE", ">"), stream(t, c, "TASK_EXECUTION", ">")...) {
		revision := h.Header["Tidemark-Revision"]
		if h.isMarker() || strings.HasPrefix(h.Subject, "agents.state.kv.") || h.Subject == "agents.state.a1" {
			continue
		}
		got = append(got, h.Subject)
		if len(revision) != 1 || !bytes.Equal(h.Raw, bodies[revision[0]]) {
			t.Errorf("%s is not the event of revision %s: %s", h.Subject, revision, h.Raw)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("published\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestFeedsKilled: an engine that is killed while it writes publishes every
// event once, because it restarts within the duplicate window.
func TestFeedsKilled(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual", "--postgres", "off"}})
	c := e.Client(t)
	for round := range harness.Rounds(1, 3) {
		var writers sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for w := range 8 {
			writers.Go(func() {
				for i := range 400 {
					if _, err := c.Set(t.Context(), fmt.Sprintf("w%d", w), "k", i, nil); err != nil {
						return // the engine is gone
					}
					if i == 60*(round+1) {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		<-enough
		e.Kill()
		c.Close() // ends open requests
		writers.Wait()
		e.Restart()
		c = e.Client(t)
	}
	c.CaughtUp(t)
	published := map[string]int{}
	for _, h := range stream(t, c, "AGENT_STATE", "agents.state.*.k") {
		published[h.Header["Tidemark-Revision"][0]]++
	}
	all := c.Journal(t)
	for _, ev := range all {
		if n := published[strconv.FormatUint(ev.Revision, 10)]; n != 1 {
			t.Errorf("revision %d was published %d times", ev.Revision, n)
		}
	}
	if len(published) != len(all) || len(all) == 0 {
		t.Errorf("%d of %d events published", len(published), len(all))
	}
}

// TestRepublish: the republish of the bucket goes into the stream of the feed.
// It causes no loop, hides no position, and a purged key removes no other
// message. A subscriber receives every change. The stream keeps only the first
// of each key, because the republished message carries the expected sequence of
// the put, which is a sequence of the bucket.
func TestRepublish(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual", "--postgres", "off"}})
	c := e.Client(t)
	kv, err := c.JS.Stream(t.Context(), "KV_AGENT_STATE")
	harness.Must(t, err)
	if r := kv.CachedInfo().Config.RePublish; r == nil || r.Destination != "agents.state.kv.>" {
		t.Fatalf("the bucket republishes %+v", r)
	}
	live, err := c.SubscribeSync("agents.state.kv.>")
	harness.Must(t, err)
	for i := range 300 {
		c.MustSet(t, "a"+strconv.Itoa(i), "k", i, nil)
	}
	c.CaughtUp(t)
	c.MustSet(t, "a0", "k", "again", nil)
	c.CaughtUp(t)
	for range 301 {
		if _, err := live.NextMsg(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	bucket, err := e.OperatorJetStream(t).KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	harness.Must(t, bucket.Purge(t.Context(), "a1.k"))
	harness.Must(t, bucket.Purge(t.Context(), "a2.k"))
	last := "agents.state.kv.$KV.AGENT_STATE.a2.k"
	harness.Eventually(t, "the purge is republished", func() error {
		if n := len(stream(t, c, "AGENT_STATE", last)); n != 1 {
			return fmt.Errorf("%d messages on %s", n, last)
		}
		return nil
	})
	count := map[string]int{}
	for _, h := range stream(t, c, "AGENT_STATE", "agents.state.>") {
		switch {
		case h.isMarker():
			count["marker"]++
		case strings.HasPrefix(h.Subject, "agents.state.kv."):
			count["kv"]++
		default:
			count["event"]++
		}
	}
	// Two purges replaced the republished messages of their keys. The stream
	// accepts the second change of a0.k only if its own sequence of that
	// subject equals that of the bucket.
	if count["event"] != 301 || count["kv"] < 300 || count["kv"] > 301 || count["marker"] < 1 || count["marker"] > 2 {
		t.Errorf("the stream holds %v", count)
	}
	if n := len(c.Journal(t)); n != 301 {
		t.Errorf("the journal has %d events", n)
	}
	before := end(t, c)
	e.Stop()
	e.Restart()
	c = e.Client(t)
	c.CaughtUp(t)
	if after := end(t, c); after != before {
		t.Errorf("a restart took the stream from %d to %d: the position was not found", before, after)
	}
}

// end returns the last sequence of AGENT_STATE.
func end(t *testing.T, c *harness.Client) uint64 {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	return s.CachedInfo().State.LastSeq
}
