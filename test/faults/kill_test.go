package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestKillNine kills the engine under load several times and restarts it on the
// same data and ports. Clients reconnect and repeat the commands whose outcome
// they do not know.
func TestKillNine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		kills int
		args  []string
	}{
		{"synced", harness.Rounds(2, 20), nil},
		// The operating system keeps what a killed process has written.
		{"relaxed, in three partitions", harness.Rounds(1, 5), []string{"--durability", "relaxed", "--partitions", "3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := harness.Start(t, harness.Config{Args: c.args})
			l := newLoad(t, 0, false)
			l.start(e, 8)
			for n := range c.kills {
				l.wait(1 + rand.IntN(300))
				e.Kill()
				if n == c.kills-1 || n%4 == 3 { // and once more while it starts
					e.Launch()
					pause(t.Context(), rand.N(400*time.Millisecond))
					e.Kill()
				}
				e.Restart()
			}
			l.wait(100)
			l.judge(e)
			if n := l.Count(); n["accepted"] < 20*c.kills || n["sent again"] == 0 || n["reads"] == 0 {
				t.Errorf("too little happened to prove anything: %v", n)
			}
		})
	}
}

// TestOutcomesSurviveAKill kills the engine while it executes enqueued commands. Each that the queue
// has taken has an outcome afterwards.
func TestOutcomesSurviveAKill(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	c := e.Client(t)
	var queued []string
	for round := range harness.Rounds(5, 20) {
		count := 40 + rand.IntN(100)
		if round == 0 {
			count = 400 // some of them in the lanes of clients that have many
		}
		for n := range count {
			id := harness.NewID()
			msg := &nats.Msg{Subject: fmt.Sprintf("enqueue.agent.a%d.set", n%20), Header: nats.Header{nats.MsgIdHdr: []string{id}},
				Data: []byte(write("k", n))}
			_, err := c.JS.PublishMsg(t.Context(), msg)
			harness.Must(t, err)
			queued = append(queued, id)
		}
		e.Kill()
		e.Restart()
	}
	harness.Eventually(t, "each command has an outcome", func() error {
		has := map[string]bool{}
		for _, m := range c.Messages(t, "OUTCOMES", "outcomes.>") {
			has[strings.TrimPrefix(m.Subject, "outcomes.")] = true
		}
		for n, id := range queued {
			if !has[id] {
				return fmt.Errorf("number %d of %d, %s, has none", n, len(queued), id)
			}
		}
		return nil
	})
}
