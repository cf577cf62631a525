package faults

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// readBound is the longest time of a read during an outage; the race detector makes an engine slower.
func readBound(t *testing.T) time.Duration {
	t.Helper()
	if harness.RaceEngine(t) {
		return 10 * time.Second
	}
	return 3 * time.Second
}

// leastRate is the number of writes that an engine takes in a second of an outage.
func leastRate(t *testing.T) int {
	t.Helper()
	if harness.RaceEngine(t) {
		return 2
	}
	return 20
}

// outage returns how long Postgres is stopped.
func outage() time.Duration {
	if harness.Long() {
		return time.Minute
	}
	return 10 * time.Second
}

// external is a Postgres that the engine does not manage.
type external struct {
	t    *testing.T
	dir  string
	port int
	*local.Server
}

func startExternal(t *testing.T) *external {
	_, text, err := net.SplitHostPort(harness.FreeAddress(t))
	harness.Must(t, err)
	port, err := strconv.Atoi(text)
	harness.Must(t, err)
	x := &external{t: t, dir: filepath.Join(harness.TempDir(t), "postgres"), port: port}
	x.start()
	t.Cleanup(x.stop)
	return x
}

func (x *external) start() {
	x.t.Helper()
	s, err := local.Start(x.t.Context(), local.Config{Dir: x.dir, Port: x.port, Log: slog.New(slog.NewTextHandler(x.t.Output(), nil))})
	harness.Must(x.t, err)
	x.Server = s
}

func (x *external) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := x.Stop(ctx); err != nil {
		x.t.Errorf("stop Postgres: %v", err)
	}
}

// TestPostgresUnavailable stops Postgres under load, for a minute in a long run. Commands and
// hot reads continue; the durable view lags, reports it, and catches up by
// itself.
func TestPostgresUnavailable(t *testing.T) {
	t.Parallel()
	x := startExternal(t)
	e := harness.Start(t, harness.Config{SQL: x.URL(),
		Args: []string{"--limits-value", "4194304", "--limits-body", "5242880"}})
	c := e.Client(t)
	// Too large for the bucket: each read of it is a miss.
	big := strings.Repeat("big ", 3<<18)
	missed := c.MustSet(t, "away", "big", big, nil)
	if got := c.MustGet(t, "away", "big", harness.M{"consistency": "hot", "token": missed.Token}); got.Source == "kv" {
		t.Fatalf("it is in the bucket: this test needs another way to a miss")
	}
	l := newLoad(t, 10*time.Millisecond, true)
	l.start(e, 6)
	l.wait(100)
	c.CaughtUp(t)

	x.stop()
	began, length := time.Now(), outage()
	ackedBefore, _ := l.Acked()
	lags := []harness.View{}
	for n := 0; time.Since(began) < length || len(lags) < 3 && time.Since(began) < 6*length; n++ {
		pause(t.Context(), 200*time.Millisecond)
		if t.Failed() {
			break
		}
		r := c.MustSet(t, "away", fmt.Sprintf("k%d", n%5), n, harness.M{"strategy": "last_write_wins"})
		for _, ask := range []harness.M{{"consistency": "cached"}, {"consistency": "hot"}, {"consistency": "strong"}} {
			ask["token"] = r.Token
			asked := time.Now()
			got := c.MustGet(t, r.ID, r.Key, ask)
			if got.Version != r.Version || got.Source == "sql" {
				t.Errorf("during the outage, %v: %+v after version %d", ask, got, r.Version)
			}
			if took := time.Since(asked); took > readBound(t) {
				t.Errorf("during the outage, %v: answered after %s", ask, took)
			}
		}
		// The first request may still use a connection that looks open.
		s, err := c.Status(t.Context())
		harness.Must(t, err)
		if code, body := e.Ready(); code != 200 {
			t.Errorf("during the outage /readyz says %d %s", code, body)
		}
		if time.Since(began) > 5*time.Second {
			if s.Postgres.State != "away" {
				t.Errorf("during the outage status says that postgres is %q", s.Postgres.State)
			}
			v := s.View("durable")
			if v.State != "waiting" {
				t.Errorf("during the outage the durable view is %q", v.State)
			}
			if hot := s.View("hot"); hot.State != "running" {
				t.Errorf("during the outage the hot view is %q", hot.State)
			}
			lags = append(lags, v)
		}
		if n%10 == 5 {
			if got := c.MustGet(t, "away", "big", harness.M{"consistency": "hot"}); got.Source != "journal" || len(got.Value) != len(big)+2 {
				t.Errorf("during the outage a miss is answered from %s with %d bytes", got.Source, len(got.Value))
			}
			if _, err := c.Get(t.Context(), "away", "none", nil); harness.Refused(err) == nil || harness.Refused(err).Status != 404 {
				t.Errorf("during the outage, of what there is not: %v", err)
			}
			if _, err := c.Get(t.Context(), "away", "big", harness.M{"consistency": "durable"}); harness.Refused(err) == nil || harness.Refused(err).Status != 503 {
				t.Errorf("during the outage a durable read: %v", err)
			}
			if _, err := c.Query(t.Context(), "queries.agent.away.entries", nil); err != nil {
				t.Errorf("during the outage, entries: %v", err)
			}
		}
	}
	length = time.Since(began)
	acked, _ := l.Acked()
	acked -= ackedBefore
	if len(lags) < 2 {
		t.Fatal("the outage was too short to see anything")
	}
	if !slices.IsSortedFunc(lags, func(a, b harness.View) int { return int(int64(a.LagEvents) - int64(b.LagEvents)) }) {
		t.Error("the lag of the durable view does not grow steadily")
	}
	last := lags[len(lags)-1]
	if int(last.LagEvents) < acked/2 || last.LagSeconds < 0.7*(length-5*time.Second).Seconds() || last.LagSeconds > length.Seconds()+5 {
		t.Errorf("%d writes were accepted in %s, and the lag is said to be %d events and %.1f s", acked, length, last.LagEvents, last.LagSeconds)
	}
	if acked < int(length.Seconds())*leastRate(t) {
		t.Errorf("only %d writes were accepted in %s", acked, length)
	}
	for outcome, n := range l.Count() {
		if strings.HasPrefix(outcome, "5") || outcome == "429" || outcome == harness.Unknown || outcome == "sent again" && n > acked/10 {
			t.Errorf("%d commands: %s", n, outcome)
		}
	}

	x.start()
	back := time.Now()
	// Under the same load.
	harness.Eventually(t, "SQL catches up", func() error {
		s, err := c.Status(t.Context())
		if v := s.View("durable"); err != nil || s.Postgres.State != "up" || v.State != "running" || v.LagSeconds > 1 {
			return fmt.Errorf("%+v %v", v, err)
		}
		return nil
	})
	t.Logf("%d writes in an outage of %s; SQL had caught up %s after Postgres was back", acked, length, time.Since(back).Round(time.Millisecond))
	r := c.MustSet(t, "away", "after", 1, nil)
	c.MustGet(t, "away", "after", harness.M{"consistency": "durable", "token": r.Token})
	_, err := c.Command(t.Context(), "commands.agent.away.delete", "", harness.M{"key": "big"}) // the bucket lacks it, and may
	harness.Must(t, err)
	l.stop()
	c.CaughtUp(t)
	l.judgeOthers(e, "away")
}

// TestPostmasterKilled kills the managed Postgres under load. The engine
// restarts it, and no command fails.
func TestPostmasterKilled(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	l := newLoad(t, 2*time.Millisecond, true)
	l.start(e, 6)
	for range harness.Rounds(1, 3) {
		l.wait(100)
		c.CaughtUp(t)
		was := postmaster(t, e)
		harness.Must(t, syscall.Kill(was, syscall.SIGKILL))
		l.wait(100) // writes go on meanwhile
		harness.Eventually(t, "Postgres is back", func() error {
			s, err := c.Status(t.Context())
			if v := s.View("durable"); err != nil || s.Postgres.State != "up" || v.State != "running" || v.LagSeconds > 1 {
				return fmt.Errorf("%s %+v %v", s.Postgres.State, v, err)
			}
			if is := postmaster(t, e); is == was || is == 0 {
				return fmt.Errorf("the postmaster is process %d", is)
			}
			return nil
		})
	}
	for outcome, n := range l.Count() {
		if strings.HasPrefix(outcome, "5") || outcome == "429" || outcome == harness.Unknown {
			t.Errorf("%d commands: %s", n, outcome)
		}
	}
	l.judge(e)
}

// postmaster returns the process id of the engine's Postgres, 0 without one.
func postmaster(t *testing.T, e *harness.Engine) int {
	t.Helper()
	pid := 0
	for _, p := range harness.Processes(filepath.Join(e.Data, "postgres")) {
		if program, _, _ := strings.Cut(p.Command, " "); filepath.Base(program) == "postgres" {
			pid = p.PID
		}
	}
	return pid
}
