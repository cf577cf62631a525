package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/client"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// Programs that append, add and update at the same time, over a kill of the engine: what
// was acknowledged to each is there once.
func TestOnceOverKill(t *testing.T) {
	const programs, writes = 8, 25
	e := harness.Start(t, harness.Config{})
	var wg sync.WaitGroup
	for p := range programs {
		wg.Go(func() {
			c, err := client.Connect(t.Context(), e.NATSURL, client.WithPatience(2*time.Minute))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			a := c.Agent("shared")
			for i := range writes {
				_, err1 := a.Append(t.Context(), "list", []string{fmt.Sprint(p, "-", i)})
				_, err2 := a.Add(t.Context(), "sum", 1)
				_, err3 := client.Update(t.Context(), a, "updated", func(n int) (int, error) { return n + 1, nil })
				if err := errors.Join(err1, err2, err3); err != nil {
					t.Errorf("program %d, write %d: %v", p, i, err)
					return
				}
			}
		})
	}
	c, err := client.Connect(t.Context(), e.NATSURL, client.WithPatience(2*time.Minute))
	harness.Must(t, err)
	defer c.Close()
	harness.Eventually(t, "a third of the work is done", func() error {
		n, err := client.Get[int](t.Context(), c.Agent("shared"), "sum")
		if err == nil && n.Value < programs*writes/3 {
			err = fmt.Errorf("%d", n.Value)
		}
		return err
	})
	e.Kill()
	e.Restart()
	wg.Wait()
	list, err := client.Get[[]string](t.Context(), c.Agent("shared"), "list", client.Consistency("strong"))
	harness.Must(t, err)
	slices.Sort(list.Value)
	if n := len(slices.Compact(list.Value)); n != programs*writes || len(list.Value) != n {
		t.Errorf("%d items of which %d differ, want %d", len(list.Value), n, programs*writes)
	}
	for _, key := range []string{"sum", "updated"} {
		n, err := client.Get[int](t.Context(), c.Agent("shared"), key, client.Consistency("strong"))
		harness.Must(t, err)
		if n.Value != programs*writes {
			t.Errorf("%s is %d, want %d", key, n.Value, programs*writes)
		}
	}
	seen := uint64(0)
	for event, err := range c.Events(t.Context(), client.EventsFrom{Subject: "agent.shared.state.sum", Until: list.Revision}) {
		harness.Must(t, err)
		if seen++; event.Version != seen {
			t.Fatalf("event %d has version %d", seen, event.Version)
		}
	}
}

// A worker whose lease runs out while it cannot renew has its report refused.
func TestLostLease(t *testing.T) {
	c := connect(t.Context())
	defer c.Close()
	_, err := c.CreateTask(t.Context(), "lost-1", "lost", nil, client.Retry(3, 0))
	harness.Must(t, err)
	slow, err := c.NextTask(t.Context(), "lost", "slow", 50*time.Millisecond, time.Second)
	harness.Must(t, err)
	other, err := c.NextTask(t.Context(), "lost", "other", time.Minute, 30*time.Second)
	harness.Must(t, err)
	if other.ID != slow.ID || other.Fence() <= slow.Fence() {
		t.Errorf("task %s with fence %d after %s with %d", other.ID, other.Fence(), slow.ID, slow.Fence())
	}
	if err := slow.Complete(t.Context(), "late"); !errors.Is(err, client.ErrFenced) {
		t.Errorf("the late report: %v, want an ErrFenced", err)
	}
	harness.Must(t, other.Complete(t.Context(), "done"))
}

// A handler that runs longer than its lease keeps the task; the context of one that has lost it ends.
func TestWorkRenewsAndLoses(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c := connect(ctx)
	defer c.Close()
	for _, id := range []string{"renew-1", "renew-2"} {
		_, err := c.CreateTask(ctx, id, "renew", nil)
		harness.Must(t, err)
	}
	var reported []error
	ended := map[string]error{}
	err := c.Work(ctx, client.Worker{Kind: "renew", Agent: "renewer", Lease: 600 * time.Millisecond, OnError: func(err error) { reported = append(reported, err) }},
		func(work context.Context, task *client.Task) (any, error) {
			if task.ID == "renew-1" {
				ended[task.ID] = pause(work, 2*time.Second) // longer than the lease
				return "slow", nil
			}
			defer stop()
			_, err := c.CancelTask(context.WithoutCancel(work), task.ID, "no-longer-needed")
			ended[task.ID] = errors.Join(err, pause(work, time.Minute))
			return nil, nil
		})
	harness.Must(t, err)
	task, err := c.GetTask(t.Context(), "renew-1")
	harness.Must(t, err)
	if task.Status != "completed" || ended["renew-1"] != nil {
		t.Errorf("the slow task is %s (%v)", task.Status, ended["renew-1"])
	}
	if !errors.Is(ended["renew-2"], context.Canceled) || len(reported) != 1 || !errors.Is(reported[0], client.ErrRejected) && !errors.Is(reported[0], client.ErrConflict) {
		t.Errorf("the cancelled task's handler ended with %v, and %v was reported", ended["renew-2"], reported)
	}
}

// A worker that gets no answer says so in the log of its program.
func TestWorkLogsErrors(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	log := &stoppingLog{stop: stop}
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	defer slog.SetDefault(before)
	c := connect(ctx, client.WithPrefix("nobody"), client.WithPatience(time.Millisecond))
	defer c.Close()
	time.AfterFunc(10*time.Second, stop)
	harness.Must(t, c.Work(ctx, client.Worker{Kind: "sum", Agent: "w1"}, nil))
	if !strings.Contains(log.String(), "kind=sum agent=w1 error=\"engine.unanswered") {
		t.Errorf("the log is %q", log.String())
	}
}

// stoppingLog stops at the first line.
type stoppingLog struct {
	strings.Builder
	stop context.CancelFunc
}

func (l *stoppingLog) Write(line []byte) (int, error) {
	l.stop()
	return l.Builder.Write(line)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestRefusals(t *testing.T) {
	c := connect(t.Context(), client.WithPatience(300*time.Millisecond))
	defer c.Close()
	_, err := c.Agent("a b").Set(t.Context(), "k", 1)
	if !errors.Is(err, client.ErrInvalid) {
		t.Errorf("an id with a space: %v", err)
	}
	_, err = c.Agent("refused").Set(t.Context(), "k", func() {})
	if !errors.Is(err, client.ErrInvalid) {
		t.Errorf("a value that is no JSON: %v", err)
	}
	_, err = c.Command(t.Context(), "agent.refused.grow", nil)
	if !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an unknown verb: %v", err)
	}
	none, err := client.Connect(t.Context(), engine().NATSURL, client.WithPrefix("elsewhere"), client.WithPatience(300*time.Millisecond))
	harness.Must(t, err)
	defer none.Close()
	if _, err := none.Agent("a").Set(t.Context(), "k", 1); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("no engine: %v, want an ErrUnavailable", err)
	}
}

// TestEngineRestarts: what waits for an answer while the engine restarts asks again as soon as
// there is a connection, not when the answer is late. And what an engine without SQL cannot
// answer is said at once.
func TestEngineRestarts(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	c, err := client.Connect(t.Context(), e.NATSURL)
	harness.Must(t, err)
	defer c.Close()
	began := time.Now()
	for _, err := range client.List[client.Task](t.Context(), c, "tasks.list") {
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Code != "sql.off" || time.Since(began) > 15*time.Second {
			t.Errorf("a list without SQL, after %s: %v", time.Since(began), err)
		}
	}
	nc, err := nats.Connect(e.NATSURL, nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))
	harness.Must(t, err)
	defer nc.Close()
	callers, err := client.New(nc)
	harness.Must(t, err)
	defer callers.Close()
	next := make(chan error, 2)
	for i, c := range []*client.Client{c, callers} {
		go func() {
			_, err := c.NextTask(t.Context(), fmt.Sprint("late-", i), "w1", time.Minute, time.Minute)
			next <- err
		}()
	}
	harness.Eventually(t, "the claims wait", func() error {
		if !strings.Contains(e.Metrics(t.Context()), "\ntidemark_tasks_next_waiting 2\n") {
			return errors.New("two requests do not wait")
		}
		return nil
	})
	e.Kill()
	e.Restart()
	for i := range 2 {
		_, err = c.CreateTask(t.Context(), fmt.Sprint("late-", i), fmt.Sprint("late-", i), nil)
		harness.Must(t, err)
	}
	late := time.After(30 * time.Second)
	for range 2 {
		select {
		case err := <-next:
			harness.Must(t, err)
		case <-late:
			t.Fatal("a claim from before the restart has no answer after 30 s")
		}
	}
}
