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

// TestSubjects: every event of the seed's kinds is told once, whole, under the
// seed's subject, and nothing else is.
func TestSubjects(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	s, err := c.JS.Stream(t.Context(), "TASK_EXECUTION")
	must(t, err)
	_, err = s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "all", AckPolicy: jetstream.AckExplicitPolicy})
	must(t, err) // interest, without which the stream keeps nothing

	c.MustSet(t, "a1", "mood.now", "good", nil)
	c.MustSet(t, "a1", "mood.now", "better", nil)
	command(t, c, "commands.agent.a1.delete", harness.M{"key": "mood.now"})
	command(t, c, "commands.agent.a1.hydrate", nil)
	harness.Within(t, 10*time.Second, "a1 is hydrated", func() error {
		if all := c.Journal(t); all[len(all)-1].Type != "agent.hydrated" {
			return fmt.Errorf("the last event is %s", all[len(all)-1].Type)
		}
		return nil
	})
	command(t, c, "commands.config.a1.set", harness.M{"key": "k", "value": 1})
	command(t, c, "commands.session.s1.open", harness.M{"owner": "a1"})
	for _, id := range []string{"t1", "t2", "kv"} {
		command(t, c, "commands.task."+id+".create", harness.M{"kind": "k"})
	}
	command(t, c, "commands.task.t1.start", harness.M{"agent_id": "a1"})
	command(t, c, "commands.task.t1.progress", harness.M{"percent": 50})
	command(t, c, "commands.task.t1.fail", harness.M{"reason": "too-hot", "detail": "any text. at all"})
	command(t, c, "commands.task.t1.start", harness.M{"agent_id": "a2"})
	command(t, c, "commands.task.t1.complete", nil)
	command(t, c, "commands.task.t2.cancel", nil)
	c.Level(t, 20*time.Second)

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
		t.Errorf("told\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestFeedsKilled: an engine killed while it writes tells every event all the
// same, each once, for the restart is inside the duplicate window.
func TestFeedsKilled(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual", "--postgres", "off"}})
	c := e.Client(t)
	for round := range 3 {
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
		c.Close() // ends the requests under way
		writers.Wait()
		e.Restart()
		c = e.Client(t)
	}
	c.Level(t, 20*time.Second)
	told := map[string]int{}
	for _, h := range stream(t, c, "AGENT_STATE", "agents.state.*.k") {
		told[h.Header["Tidemark-Revision"][0]]++
	}
	all := c.Journal(t)
	for _, ev := range all {
		if n := told[strconv.FormatUint(ev.Revision, 10)]; n != 1 {
			t.Errorf("revision %d was told %d times", ev.Revision, n)
		}
	}
	if len(told) != len(all) || len(all) == 0 {
		t.Errorf("%d of %d events told", len(told), len(all))
	}
}

// TestRepublish: the seed's republish puts bucket changes into the feed's own
// stream. That loops nowhere, hides no position, and a purged key takes nothing
// else with it. Who listens on the subject hears every change; the stream keeps
// the first of each key alone, for the republished message carries the guard of
// the put, which is a sequence of the bucket's.
func TestRepublish(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual", "--postgres", "off"}})
	c := e.Client(t)
	kv, err := c.JS.Stream(t.Context(), "KV_AGENT_STATE")
	must(t, err)
	if r := kv.CachedInfo().Config.RePublish; r == nil || r.Destination != "agents.state.kv.>" {
		t.Fatalf("the bucket republishes %+v", r)
	}
	live, err := c.SubscribeSync("agents.state.kv.>")
	must(t, err)
	for i := range 300 {
		c.MustSet(t, "a"+strconv.Itoa(i), "k", i, nil)
	}
	c.Level(t, 20*time.Second)
	c.MustSet(t, "a0", "k", "again", nil)
	c.Level(t, 20*time.Second)
	for range 301 {
		if _, err := live.NextMsg(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	bucket, err := c.JS.KeyValue(t.Context(), "AGENT_STATE")
	must(t, err)
	must(t, bucket.Purge(t.Context(), "a1.k"))
	must(t, bucket.Purge(t.Context(), "a2.k"))
	last := "agents.state.kv.$KV.AGENT_STATE.a2.k"
	harness.Within(t, 10*time.Second, "the purge is republished", func() error {
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
	// Two purges replaced what was republished of their own keys. The stream
	// takes the second change of a0.k only where its own sequence of that subject
	// happens to be the bucket's.
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
	c.Level(t, 20*time.Second)
	if after := end(t, c); after != before {
		t.Errorf("a restart took the stream from %d to %d: the position was not found", before, after)
	}
}

// end is the last sequence of AGENT_STATE.
func end(t *testing.T, c *harness.Client) uint64 {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), "AGENT_STATE")
	must(t, err)
	return s.CachedInfo().State.LastSeq
}
