package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// external runs a NATS server that the engines share.
func external(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 30,
		MaxPayload: 8 << 20, NoSigs: true, NoLog: true,
	})
	harness.Must(t, err)
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s.ClientURL()
}

// postgres runs a database that the engines share.
func postgres(t *testing.T) string {
	t.Helper()
	s, err := local.Start(t.Context(), local.Config{Dir: filepath.Join(harness.TempDir(t), "pg"), Log: slog.New(slog.DiscardHandler)})
	harness.Must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s.URL()
}

// twoEngines share a journal and a database. A page of the docs is run while the first serves
// alone: a list without a token need not know what the other one has acknowledged.
func twoEngines(t *testing.T, page string) (engines [2]*harness.Engine, sql string) {
	t.Helper()
	url, sql := external(t), postgres(t)
	for i := range engines {
		engines[i] = harness.Start(t, harness.Config{Args: []string{"--nats", url, "--postgres", sql}, SQL: sql})
		engines[i].NATSURL = url
		if i == 0 && page != "" {
			engines[i].RunPage(t, page)
		}
	}
	return engines, sql
}

// runs reports whether an engine runs the hot view.
func runs(e *harness.Engine) bool {
	_, body := e.Ready()
	_, hot, _ := strings.Cut(body, `"name":"hot"`)
	hot, _, _ = strings.Cut(hot, "}")
	return strings.Contains(hot, `"state":"running"`)
}

// TestTwoEngines: commands go to two engines, and each view runs in one of
// them. When that engine is killed, the other takes over within ten seconds; no
// event is lost or doubled.
func TestTwoEngines(t *testing.T) {
	t.Parallel()
	engines, sql := twoEngines(t, "")
	c := engines[0].Client(t)
	write(t, c, 0, 40)
	claimEach(t, c, 60)
	for i, e := range engines {
		if n := answered(t, e); n == 0 {
			t.Errorf("engine %d answered no command", i)
		}
	}
	first, second := engines[0], engines[1]
	if runs(second) {
		first, second = second, first
	}
	if !runs(first) || runs(second) {
		t.Fatalf("the view hot runs in engine 0: %v, in engine 1: %v", runs(engines[0]), runs(engines[1]))
	}
	c.CaughtUp(t)
	for i := range 10 {
		c.MustDo(t, fmt.Sprintf("reminder.two%d.set", i), M{"every_ms": 1000, "count": 5, "missed": "all", "command": M{"subject": fmt.Sprintf("agent.reminded%d.add", i), "body": M{"key": "n", "delta": 1}}})
	}

	first.Kill()
	killed := time.Now()
	write(t, c, 40, 80)
	harness.Within(t, 10*time.Second, "the other engine runs the view", func() error {
		if !runs(second) {
			return errors.New("it does not yet")
		}
		return nil
	})
	t.Logf("taken over %s after the kill", time.Since(killed).Round(time.Millisecond))
	c.CaughtUp(t)
	for a := range 4 {
		if got := c.MustGet(t, fmt.Sprintf("two%d", a), "n", M{"consistency": "strong"}); got.Version != 80 {
			t.Errorf("agent two%d: %+v", a, got)
		}
	}
	for i := range 10 { // either engine may be at it when one is killed
		awaitReminder(t, c, fmt.Sprint("two", i), func(r remindState) bool { return r.Status == "done" && r.Fired == 5 })
		if got := c.MustGet(t, fmt.Sprint("reminded", i), "n", M{"consistency": "strong"}); got.Version != 5 {
			t.Errorf("a reminder of two engines: %s", got)
		}
	}
	c.CheckAll(t)
	if r := second.Run("verify", "--postgres", sql); r.Code != 0 {
		t.Errorf("verify: %+v", r)
	}
}

// answered returns how many commands one engine has answered.
func answered(t *testing.T, e *harness.Engine) (n int) {
	t.Helper()
	for _, line := range strings.Split(page(t, e.HTTPURL+"/metrics"), "\n") {
		var count int
		if strings.HasPrefix(line, "tidemark_requests_total") && strings.Contains(line, "agent.set") {
			if _, err := fmt.Sscanf(line[strings.LastIndexByte(line, ' ')+1:], "%d", &count); err == nil {
				n += count
			}
		}
	}
	return n
}

// page reads an HTTP page of an engine.
func page(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	r, err := client.Get(url)
	harness.Must(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	harness.Must(t, err)
	return string(body)
}

// write sends the writes from..to of four agents. It repeats each under its id
// until it is answered.
func write(t *testing.T, c *harness.Client, from, to int) {
	t.Helper()
	var all sync.WaitGroup
	for a := range 4 {
		all.Go(func() {
			for n := from; n < to; n++ {
				if err := insist(t.Context(), c, fmt.Sprintf("commands.agent.two%d.set", a), harness.NewID(),
					M{"key": "n", "value": n, "strategy": "last_write_wins"}); err != nil {
					t.Errorf("write %d: %v", n, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// insist sends a command until its outcome is known.
func insist(ctx context.Context, c *harness.Client, subject, id string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		once, done := context.WithTimeout(ctx, 2*time.Second)
		_, err := c.Command(once, subject, id, body)
		done()
		r := harness.Refused(err)
		switch {
		case err == nil, ctx.Err() != nil:
			return err
		case r != nil && r.Status != 503 && r.Status != 429:
			return err
		case r == nil && !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout):
			return err
		}
	}
}
