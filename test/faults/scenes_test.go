package faults

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// recorder is a test whose failures are the result of a scene.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (r *recorder) say(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, strings.TrimSpace(text))
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.said) > 0
}

func (r *recorder) Errorf(format string, args ...any) { r.say(fmt.Sprintf(format, args...)) }
func (r *recorder) Error(args ...any)                 { r.say(fmt.Sprintln(args...)) }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }
func (r *recorder) Logf(string, ...any)               {}
func (r *recorder) Log(...any)                        {}

// scene is what clients do with an engine, under failpoints that are harmless for a right one.
// Its checks are those of the fault tests.
type scene struct {
	name  string
	terms string
	play  func(s *stage)
}

// stage is one performance of a scene.
type stage struct {
	*recorder
	*harness.Engine
	*failpoints
	c     *harness.Client
	sql   string
	terms string        // of the scene and of the bug, if one is in force
	bug   bool          // one is
	wait  time.Duration // for what must happen
}

// perform plays a scene with a bug in force, "" = none, and returns what the checkers said.
func perform(t *testing.T, s *scene, bug, sql string) []string {
	st := &stage{recorder: &recorder{TB: t}, failpoints: newFailpoints(t), sql: sql, bug: bug != "", wait: harness.Patience,
		terms: strings.Trim(s.terms+";"+bug, ";")}
	st.failpoints.t = st.recorder
	if st.bug {
		st.wait = 10 * time.Second
	}
	st.Engine = harness.New(st.recorder, harness.Config{Program: failEngine(t), Env: st.env(), SQL: sql})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.play(st)
	}()
	<-done
	if st.PID() != 0 {
		st.Kill()
	}
	return st.said
}

// open starts the engine, with the terms in force from then on.
func (s *stage) open() {
	s.Restart()
	s.c = s.Client(s.recorder)
	for _, term := range strings.Split(s.terms, ";") {
		if name, terms, ok := strings.Cut(term, "="); ok {
			s.set(name, terms)
		}
	}
}

// eventually is what a right engine reaches within the test's patience.
func (s *stage) eventually(what string, holds func() error) {
	harness.Within(s.recorder, s.wait, what, holds)
}

func (s *stage) report(wrong []string) {
	for _, w := range wrong {
		s.Error(w)
	}
}

// everyday is a load with lost replies, slow stores and lost acknowledgements.
var everyday = &scene{"everyday",
	"reply=10.0%return;appendDone=5.0%return;oddKeepHead=20.0%return;oddTimer=return;hotPut=30.0%sleep(120);pgBegin=20.0%sleep(100)",
	func(s *stage) {
		s.open()
		l := newLoad(s.recorder, 2*time.Millisecond, false)
		l.start(s.Engine, 6)
		tr := newTraffic(s.recorder, s.Engine, s.sql)
		tr.wait = s.wait
		l.wait(300)
		pause(context.Background(), 3*time.Second) // a deadline of the traffic passes
		l.stop()
		tr.stop()
		for _, name := range []string{"reply", "hotPut", "pgBegin"} { // the answers to the checks are not lost
			s.off(name)
		}
		s.report(tr.settle())
		s.c.CaughtUpWithin(s.recorder, s.wait)
		everything := s.c.Journal(s.recorder)
		all := without(everything, side)
		_, wrong := l.Linearizable(all)
		for _, w := range [][]string{harness.CheckJournal(everything), l.Check(all), wrong, tr.check(everything),
			harness.Differences("KV", all, rowsWithout(s.c.KV(s.recorder))), harness.Differences("SQL", all, rowsWithout(s.c.Rows(s.recorder))),
			checkFeed(everything, s.c.Messages(s.recorder, "AGENT_STATE", "agents.state.>"))} {
			s.report(w)
		}
	}}

// rowsWithout returns the rows of other agents than the traffic's, which may be evicted.
func rowsWithout(rows map[string]harness.Row) map[string]harness.Row {
	for name := range rows {
		if strings.HasPrefix(name, side) {
			delete(rows, name)
		}
	}
	return rows
}

// flushing flushes an agent while the durable view stands still: SQL must then have all its keys.
var flushing = &scene{"flush", "pgBegin=sleep(5000)", func(s *stage) {
	s.open()
	const keys = 5
	for i := range keys {
		s.c.MustSet(s.recorder, "a", fmt.Sprint("k", i), i, nil)
	}
	s.eventually("the agent is active", s.phase("a", "active"))
	s.c.MustDo(s.recorder, "agent.a.flush", harness.M{})
	s.c.AwaitEvent(s.recorder, "the flush", s.wait, func(e harness.Event) bool { return e.Type == "agent.flushed" })
	if rows := s.c.Rows(s.recorder); len(rows) != keys {
		s.Errorf("after the flush SQL has %d of %d keys", len(rows), keys)
	}
}}

func (s *stage) phase(agent, phase string) func() error {
	return func() error {
		answer, err := s.c.Query(context.Background(), "queries.agent."+agent+".lifecycle", nil)
		if err == nil && !strings.Contains(string(answer), `"`+phase+`"`) {
			err = fmt.Errorf("%s", answer)
		}
		return err
	}
}

// startingUp asks a starting engine, which stands still before it takes commands: /readyz must not
// say that it does.
var startingUp = &scene{"start", "", func(s *stage) {
	s.SetEnv(s.env("starting=3*off->1*sleep(2000)", s.terms)...)
	s.Launch()
	s.eventually("the engine has begun to start", func() error {
		if n, err := s.request("GET", "starting/count", ""); err != nil || n != "4" {
			return errors.Join(err, fmt.Errorf("%s steps", n))
		}
		return nil
	})
	if code, body := s.Ready(); code == 200 {
		s.Errorf("/readyz says %d %s before the engine takes commands", code, body)
	}
	s.Await()
}}

// expiring lets the event of an expiry fail after the eviction: the agent stays active, and KV must
// have its keys.
var expiring = &scene{"expiry", "expireEvicted=return", func(s *stage) {
	s.open()
	s.c.MustSet(s.recorder, "a", "k", 1, nil)
	s.eventually("the agent is active", s.phase("a", "active"))
	s.c.CaughtUp(s.recorder)
	if _, err := s.c.Command(context.Background(), "commands.agent.a.expire", "", `{}`); harness.Refused(err) == nil {
		s.Fatalf("the expiry is not refused: %v", err)
	}
	s.eventually("KV has the keys of an active agent", func() error {
		if wrong := harness.Differences("KV", s.c.Journal(s.recorder), s.c.KV(s.recorder)); len(wrong) > 0 {
			return errors.New(wrong[0])
		}
		return nil
	})
}}

// rebuilding folds SQL again: the rows must be those of the journal.
var rebuilding = &scene{"rebuild", "", func(s *stage) {
	s.open()
	for i := range 10 {
		s.c.MustSet(s.recorder, "a", fmt.Sprint("k", i), i, nil)
	}
	s.c.CaughtUp(s.recorder)
	if r := s.RunWith([]string{"GOFAIL_FAILPOINTS=" + s.terms}, "rebuild", "durable", "--postgres", s.sql); r.Code != 0 {
		s.Errorf("rebuild: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	s.c.CaughtUp(s.recorder)
	s.report(harness.Differences("SQL", s.c.Journal(s.recorder), s.c.Rows(s.recorder)))
}}
