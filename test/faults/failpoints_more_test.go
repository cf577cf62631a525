package faults

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestFailpointsOfALease kills, delays and interrupts an engine that holds the leases of its views
// on an external server.
func TestFailpointsOfALease(t *testing.T) {
	if !harness.Long() {
		t.Log("this is a part of make faults")
		return
	}
	t.Parallel()
	port := harness.FreePorts(t, 1)[0]
	t.Cleanup(natsServer(t, filepath.Join(harness.TempDir(t), "store"), port))
	sum := newTally()
	c := &campaign{world: &world{t: t, sql: startExternal(t)}, failpoints: newFailpoints(t), tally: sum}
	c.Engine = harness.Start(t, harness.Config{Program: failEngine(t), Env: c.env(), SQL: c.sql.URL(),
		Args: []string{"--nats", "nats://127.0.0.1:" + strconv.Itoa(port)}})
	c.client = c.Client(t)
	c.load = newLoad(t, 10*time.Millisecond, false)
	c.load.start(c.Engine, 4)
	c.traffic = newTraffic(t, c.Engine, c.sql.URL())
	held := func(point, action, terms string) step {
		i := injection{point, action}
		return step{i.String(), func(c *campaign) {
			c.set(point, terms)
			harness.Eventually(t, i.String(), func() bool { return c.count(point) > 0 })
			c.off(point)
			c.note(i, true)
		}}
	}
	for _, s := range []step{
		held("leaseRenew", "delay", "1*sleep(1000)"),
		held("leaseRenew", "long delay", "1*sleep(7000)"), // the lease expires meanwhile
		held("leaseRenew", "error", "1*return"),           // the lease counts as lost
		killAt("leaseRenew"),
		{"delay at leaseAcquired", func(c *campaign) {
			c.set("leaseRenew", "1*return")
			held("leaseAcquired", "delay", "1*sleep(2000)").play(c)
		}},
		{"kill at leaseAcquired", func(c *campaign) {
			c.set("leaseRenew", "1*return")
			harness.Eventually(t, "a lease is lost", func() bool { return c.count("leaseRenew") > 0 })
			killAt("leaseAcquired").play(c)
		}},
	} {
		c.load.wait(10)
		s.play(c)
		sum.times = append(sum.times, c.recovered(s.name))
	}
	for _, wrong := range c.traffic.settle() {
		t.Error(wrong)
	}
	for _, wrong := range c.traffic.check(c.load.judgeOthers(c.Engine, "probe", side)) {
		t.Error(wrong)
	}
	sum.histories, sum.concurrent, sum.commands = c.load.histories, c.load.Concurrent(), c.load.Count()
	sum.report(t)
}

// TestFailpointsOfATrim interrupts a trim at each of its steps. Whatever it has removed, the history
// has every event, and a command that took effect before does so no more.
func TestFailpointsOfATrim(t *testing.T) {
	if !harness.Long() {
		t.Log("this is a part of make faults")
		return
	}
	t.Parallel()
	x := startExternal(t)
	e := harness.Start(t, harness.Config{Program: failEngine(t), SQL: x.URL()})
	c := e.Client(t)
	type sent struct {
		id, body string
		first    harness.Receipt
	}
	var all []sent
	const keys = 20
	for i := range 10 * keys {
		s := sent{id: harness.NewID(), body: write(fmt.Sprint("k", i%keys), i)}
		var err error
		s.first, err = c.Command(t.Context(), "commands.agent.a.set", s.id, s.body)
		harness.Must(t, err)
		all = append(all, s)
	}
	c.CaughtUp(t)
	injections := 0
	check := func(what string) {
		injections++
		e.Verify()
		for _, s := range all[:len(all):len(all)] {
			again, err := c.Command(t.Context(), "commands.agent.a.set", s.id, s.body)
			if err != nil || !again.Replayed || again.Revision != s.first.Revision {
				t.Fatalf("after %s: command %s again: %+v %v, first %+v", what, s.id, again, err, s.first)
			}
		}
	}
	for _, point := range []string{"trimMarked", "trimPurge"} {
		for _, terms := range []string{"1*panic", "1*return", "1*off->1*panic", "1*off->1*return", "1*sleep(500)"} {
			r := e.RunWith([]string{"GOFAIL_FAILPOINTS=" + point + "=" + terms}, "trim", "--before", strconv.Itoa(40+injections*12), "--yes", "--postgres", x.URL())
			t.Logf("trim with %s=%s ended with %d", point, terms, r.Code)
			check(point + "=" + terms)
		}
	}
	if r := e.RunWith(nil, "trim", "--before", "190", "--yes", "--postgres", x.URL()); r.Code != 0 {
		t.Errorf("the trim after all interruptions ended with %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	check("a whole trim")
	t.Logf("%d injections", injections-1)
}
