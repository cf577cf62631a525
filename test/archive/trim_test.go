package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// grow writes a value under each of so many keys, round after round, one batch
// a round.
func grow(t *testing.T, c *harness.Client, agent string, keys, rounds int) {
	t.Helper()
	for round := range rounds {
		var batch []M
		for k := range keys {
			batch = append(batch, M{"subject": "commands.agent." + agent + ".set", "id": harness.NewID(),
				"body": M{"key": fmt.Sprint("k", k), "value": round, "strategy": "last_write_wins"}})
		}
		body, err := c.Query(t.Context(), "commands.batch", M{"commands": batch})
		if err != nil || strings.Contains(string(body), `"error"`) {
			t.Fatalf("%.300s %v", body, err)
		}
	}
}

// kept returns how many events and subjects the journal holds, and the mark of
// the last trim.
func kept(t *testing.T, c *harness.Client) (events, streams uint64, mark string) {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	info, err := s.Info(t.Context())
	harness.Must(t, err)
	return info.State.Msgs, info.State.NumSubjects, info.Config.Metadata["tidemark.trimmed"]
}

type trimSaid struct {
	Done   bool `json:"done"`
	Events int  `json:"events"`
	Kept   int  `json:"kept"`
}

func trim(t *testing.T, e *harness.Engine, more ...string) (said trimSaid) {
	t.Helper()
	text := do(t, append([]string{"trim", "--data", e.Data, "--json"}, more...)...)
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return said
}

// TestTrim: trimmed events stay part of the history. Every query answers as
// before, and a repeated command is recognised as a duplicate.
func TestTrim(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	live(t, c)
	grow(t, c, "b", 20, 10)
	old := ulid.MustNew(ulid.Timestamp(time.Now().Add(-time.Hour)), ulid.DefaultEntropy()).String()
	fresh := harness.NewID()
	first := map[string]harness.Receipt{}
	for _, id := range []string{old, fresh} {
		r, err := c.Command(t.Context(), "commands.agent.a9.set", id, M{"key": "k", "value": 1, "strategy": "last_write_wins"})
		harness.Must(t, err)
		first[id] = r
	}
	c.MustSet(t, "a9", "k", 2, M{"strategy": "last_write_wins"})
	c.CaughtUp(t)
	before, _ := verified(t, e)
	said, replayed := answers(t, c), e.Run("replay", "--positions").Stdout
	some := e.Run("replay", "--from", "7", "--to", "60", "--subject", "events.agent.*.state.>").Stdout
	events, streams, _ := kept(t, c)

	if plan := trim(t, e, "--before", "0s", "--plan"); plan.Done || plan.Events != int(events-streams) {
		t.Errorf("plan %+v of %d events in %d streams", plan, events, streams)
	}
	if r := harness.Run(t, "archive", "trim", "--data", e.Data, "--before", "0s"); r.Code != 2 || !strings.Contains(r.Stderr, "--yes") {
		t.Errorf("without --yes: %+v", r)
	}
	if plan := trim(t, e, "--before", "30d", "--yes"); plan.Events != 0 {
		t.Errorf("of a month ago: %+v", plan)
	}
	if now, _, mark := kept(t, c); now != events || mark != "" {
		t.Fatalf("something was trimmed: %d events, mark %q", now, mark)
	}

	stop := writes(t, c)
	if done := trim(t, e, "--before", "0s", "--yes"); !done.Done || done.Events < int(events-streams) {
		t.Errorf("trimmed %+v of %d events in %d streams", done, events, streams)
	}
	trim(t, e, "--before", "20", "--yes")
	stop()
	check := func(when string) {
		t.Helper()
		c.CaughtUp(t)
		same(t, when, answers(t, c), said)
		if now := e.Run("replay", "--positions"); !strings.HasPrefix(now.Stdout, replayed) || now.Code != 0 {
			t.Errorf("%s: replay ends with %d and does not begin as before; it printed\n%.2000s%s", when, now.Code, now.Stdout, now.Stderr)
		}
		if now := e.Run("replay", "--from", "7", "--to", "60", "--subject", "events.agent.*.state.>").Stdout; now != some {
			t.Errorf("%s: a part of replay is\n%.2000s\nwas\n%.2000s", when, now, some)
		}
		for id, r := range first {
			again, err := c.Command(t.Context(), "commands.agent.a9.set", id, M{"key": "k", "value": 1, "strategy": "last_write_wins"})
			if err != nil || !again.Replayed || again.Revision != r.Revision || again.Version != r.Version {
				t.Errorf("%s: %s sent again: %+v %v, was %+v", when, id, again, err, r)
			}
		}
	}
	check("trimmed")
	e.Stop()
	e.Restart()
	check("restarted")
	left := 0
	for _, ev := range c.Journal(t) {
		if ev.Revision <= events { // the writer's come after them
			left++
		}
	}
	if left >= int(events) {
		t.Errorf("%d events are left of %d", left, events)
	}
	r := c.MustSet(t, "a9", "k", 3, M{"expected_version": 3})
	if r.Version != 4 {
		t.Errorf("%+v", r)
	}
	if after, _ := verified(t, e); after == before {
		t.Error("the writer has written nothing")
	}

	// An export contains the trimmed events too.
	path, data := file(t, "journal.gz"), harness.TempDir(t)
	digest, count := verified(t, e)
	do(t, "export", "--data", e.Data, path)
	do(t, "import", "--data", data, path)
	other := harness.Start(t, harness.Config{Data: data, Args: []string{"--postgres", "off", "--lifecycle", "manual"}})
	if d, n := verified(t, other); d != digest || n != count {
		t.Errorf("digest %s of %d events, was %s of %d", d, n, digest, count)
	}
}

// writes starts a writer and returns the function that stops it.
func writes(t *testing.T, c *harness.Client) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := c.Set(context.WithoutCancel(ctx), "w", fmt.Sprint("k", i%7), i, M{"strategy": "last_write_wins"}); err != nil {
				t.Errorf("a write while the journal is trimmed: %v", err)
				return
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// TestTrimIsContinued: the next run continues a trim that was killed. Each
// aggregate keeps its last event.
func TestTrimIsContinued(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	grow(t, c, "b", 250, 3)
	c.CaughtUp(t)
	lasts := ends(t, c)
	digest, _ := verified(t, e)

	cmd := exec.Command(harness.Binary(t), "archive", "trim", "--data", e.Data, "--before", "0s", "--yes")
	harness.Must(t, cmd.Start())
	harness.Eventually(t, "the mark", func() error {
		if _, _, mark := kept(t, c); mark == "" {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if d, _ := verified(t, e); d != digest {
		t.Errorf("half trimmed: digest %s, was %s", d, digest)
	}
	trim(t, e, "--before", "0s", "--yes")
	if events, streams, _ := kept(t, c); events != streams {
		t.Errorf("%d events are left of %d streams", events, streams)
	}
	for subject, revision := range ends(t, c) {
		if lasts[subject] != revision {
			t.Errorf("%s ends at %d, was %d", subject, revision, lasts[subject])
		}
	}
	if d, _ := verified(t, e); d != digest {
		t.Errorf("digest %s, was %s", d, digest)
	}
	refusedOff(t)
}

// ends returns the revision of the last event of every subject.
func ends(t *testing.T, c *harness.Client) map[string]uint64 {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter("events.>"))
	harness.Must(t, err)
	all := map[string]uint64{}
	for subject := range info.State.Subjects {
		msg, err := s.GetLastMsgForSubject(t.Context(), subject)
		harness.Must(t, err)
		all[subject] = msg.Sequence
	}
	return all
}

// refusedOff: without SQL there is no archive, so trim refuses.
func refusedOff(t *testing.T) {
	t.Helper()
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	e.Client(t).MustSet(t, "a", "k", 1, nil)
	refused(t, "without SQL", "trim", "--data", e.Data, "--before", "0s", "--yes")
}
