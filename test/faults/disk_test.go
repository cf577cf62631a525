package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestDiskFull fills the disk of an embedded server under load, several times. The
// engine says so at once, executes commands again when there is room, and loses
// nothing. It also stops in time on a full disk. Without a reserve the writes of
// the server itself fail.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	bytes := func(t testing.TB) (string, bool) { return harness.SmallDisk(t, 64<<20) }
	kinds := []struct {
		name   string
		rounds int
		args   []string
		disk   func(testing.TB) (dir string, ok bool)
		fill   func(t testing.TB, dir string) (free func())
	}{
		{"with the default reserve", 2, nil, bytes, harness.FillDisk},
		{"without a reserve", harness.Rounds(2, 5), []string{"--disk-reserve", "1"}, bytes, harness.FillDisk},
		{"of files", 2, nil, func(t testing.TB) (string, bool) { return harness.FewFiles(t, 1000) }, harness.FillFiles},
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			args := kind.args
			disk, ok := "", false
			if !harness.RaceEngine(t) { // nats-server 2.15.3 has a data race when it starts JetStream again after a write error
				disk, ok = kind.disk(t)
			}
			free := func() func() { return kind.fill(t, disk) }
			if !ok { // the reserve is then more than any disk has
				disk, args = harness.TempDir(t), nil
				free = nil
			}
			e := harness.New(t, harness.Config{Data: disk + "/data", Args: append([]string{"--postgres", "off"}, args...), Env: []string{"TIDEMARK_LIFECYCLE=manual"}})
			if free == nil {
				fullByReserve(t, e)
				return
			}
			e.Restart()
			c := e.Client(t)
			w := newWriters(t, c)
			for round := range kind.rounds {
				w.wait(20)
				empty := free()
				harness.Within(t, 5*time.Second, "a command is refused", func() error { return refusedAsFull(t, c) })
				refusedDurable(t, c)
				harness.Within(t, 5*time.Second, "the engine is not ready", func() error {
					if code, body := e.Ready(); code != 503 || !strings.Contains(body, `"journal.full: the disk`) {
						return fmt.Errorf("%d %s", code, body)
					}
					return nil
				})
				if round == kind.rounds-1 {
					w.stop()
					began := time.Now()
					e.Stop()
					if took := time.Since(began); took > 10*time.Second {
						t.Errorf("the stop on a full disk took %s", took)
					}
					empty()
					e.Restart()
					break
				}
				empty()
				harness.Within(t, 20*time.Second, "commands are executed again", func() error {
					_, err := c.Set(t.Context(), "after", fmt.Sprint("k", round), round, nil)
					return err
				})
				e.Await()
			}
			w.check()
			e.Verify()
		})
	}
}

// refusedAsFull sends a command that must fail within two seconds because the
// disk is full.
func refusedAsFull(t *testing.T, c *harness.Client) error {
	began := time.Now()
	_, err := c.Set(t.Context(), "full", "k", 1, nil)
	no := harness.Refused(err)
	if no == nil || no.Status != 503 || no.Code != "journal.full" {
		return fmt.Errorf("the answer is %w", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the refusal took %s", took)
	}
	return nil
}

// refusedDurable enqueues a command, which must be refused like a request.
func refusedDurable(t *testing.T, c *harness.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := c.JS.Publish(ctx, "enqueue.agent.full.set", []byte(`{"key":"k","value":"`+strings.Repeat("v", 200<<10)+`"}`))
	var no *jetstream.APIError
	if !errors.As(err, &no) || no.Code != 503 || !strings.Contains(no.Description, "is full") {
		t.Errorf("an enqueued command on a full disk: %v", err)
	}
}

// fullByReserve is the same where no file system can be mounted: a reserve that no
// disk has.
func fullByReserve(t *testing.T, e *harness.Engine) {
	e.Restart()
	e.Client(t).MustSet(t, "a", "k", 1, nil)
	e.Stop()
	e.Launch("--disk-reserve", "4000000000000000000")
	harness.Eventually(t, "the engine is not ready", func() error {
		if code, body := e.Ready(); code != 503 || !strings.Contains(body, "journal.full") {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	c := e.Client(t)
	harness.Eventually(t, "a command is refused", func() error { return refusedAsFull(t, c) })
	refusedDurable(t, c)
	e.Stop()
	e.Restart()
	e.Client(t).MustSet(t, "a", "k", 2, nil)
	e.Verify()
}

// writers set keys, and remember which were acknowledged.
type writers struct {
	t      *testing.T
	c      *harness.Client
	cancel context.CancelFunc
	ended  sync.WaitGroup
	mu     sync.Mutex
	acked  map[string]int
}

func newWriters(t *testing.T, c *harness.Client) *writers {
	w := &writers{t: t, c: c, acked: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	for n := range 4 {
		w.ended.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("w%d.%d", n, i%20)
				if _, err := c.Set(context.WithoutCancel(ctx), "load", key, fmt.Sprint(i, strings.Repeat("x", 2000)), nil); err == nil {
					w.mu.Lock()
					w.acked[key] = i
					w.mu.Unlock()
				} else {
					pause(ctx, 5*time.Millisecond)
				}
			}
		})
	}
	return w
}

func (w *writers) stop() {
	w.cancel()
	w.ended.Wait()
}

// wait waits for more acknowledged commands.
func (w *writers) wait(more int) {
	w.t.Helper()
	count := func() (n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, i := range w.acked {
			n += i/20 + 1
		}
		return n
	}
	from := count()
	harness.Eventually(w.t, "commands are acknowledged", func() bool { return count() >= from+more })
}

// check reads what was acknowledged last, or something that was sent after it.
func (w *writers) check() {
	w.t.Helper()
	for key, i := range w.acked {
		var got string
		_, err := fmt.Sscanf(string(w.c.MustGet(w.t, "load", key, harness.M{"consistency": "strong"}).Value), `"%s`, &got)
		var n int
		if _, err2 := fmt.Sscan(strings.TrimRight(got, `x"`), &n); err != nil || err2 != nil || n < i {
			w.t.Errorf("%s is %.20s, %d was acknowledged (%v, %v)", key, got, i, err, err2)
		}
	}
}
