package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// world is an engine under load with a Postgres of its own, which faults strike.
type world struct {
	*harness.Engine
	t      *testing.T
	sql    *external
	client *harness.Client
	random *rand.Rand
}

// fault is one disturbance. It returns when the disturbance is over: from then on the engine must
// recover by itself.
type fault struct {
	name   string
	strike func(w *world)
}

var faults = slices.Concat([]fault{
	{"kill -9 of the engine", func(w *world) { w.Kill(); w.Restart() }},
	{"kill -9 of the engine while it starts", func(w *world) {
		w.Kill()
		w.Launch()
		w.pause(0, 400*time.Millisecond)
		w.Kill()
		w.Restart()
	}},
	{"stop of the engine", func(w *world) { w.Stop(); w.Restart() }},
	{"freeze of the engine", func(w *world) {
		w.signal(w.PID(), syscall.SIGSTOP)
		w.pause(time.Second, 4*time.Second)
		w.signal(w.PID(), syscall.SIGCONT)
	}},
	{"kill -9 of the postmaster", func(w *world) {
		for _, p := range harness.Processes(w.sql.dir) {
			w.signal(p.PID, syscall.SIGKILL)
		}
	}}, // its owner starts it again
	{"stop of Postgres", func(w *world) { w.sql.stop(); w.pause(0, 3*time.Second); w.sql.start() }},
	{"freeze of Postgres", func(w *world) {
		all := harness.Processes(w.sql.dir)
		for _, p := range all {
			w.signal(p.PID, syscall.SIGSTOP)
		}
		w.pause(time.Second, 6*time.Second)
		for _, p := range all {
			w.signal(p.PID, syscall.SIGCONT)
		}
	}},
	{"end of every session of Postgres", func(w *world) {
		w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`)
	}},
	{"lock of the rows in Postgres", func(w *world) {
		w.inTx(`LOCK TABLE agents.state, agents.checkpoints IN ACCESS EXCLUSIVE MODE`)
	}},
	{"read-only Postgres", func(w *world) {
		w.exec(`ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`,
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`)
		w.pause(time.Second, 3*time.Second)
		w.exec(`SET default_transaction_read_only = off`, `ALTER SYSTEM RESET default_transaction_read_only`, `SELECT pg_reload_conf()`)
	}},
	{"loss of the rows in Postgres", func(w *world) { w.exec(`DROP TABLE agents.state CASCADE`) }},
	{"loss of the schema in Postgres", func(w *world) { w.exec(`DROP SCHEMA agents CASCADE`) }},
	{"purge of the hot bucket", func(w *world) {
		js := w.OperatorJetStream(w.t)
		w.ask("purge the bucket", func(ctx context.Context) error {
			s, err := js.Stream(ctx, "KV_AGENT_STATE")
			if err == nil {
				err = s.Purge(ctx)
			}
			return err
		})
	}},
	{"deletion of the journal's consumers", func(w *world) {
		js := w.OperatorJetStream(w.t)
		w.ask("delete the consumers", func(ctx context.Context) error {
			s, err := js.Stream(ctx, "EVENTS")
			if err != nil {
				return err
			}
			for name := range s.ConsumerNames(ctx).Name() {
				_ = s.DeleteConsumer(ctx, name)
			}
			return nil
		})
	}},
}, deletions(streams...))

// streams are those that the engine makes again when they are deleted.
var streams = []string{"KV_AGENT_STATE", "KV_TASK_STATE", "KV_SESSION_DATA", "KV_AGENT_CONFIG", "KV_REMINDER_STATE", "AGENT_STATE", "TASK_EXECUTION", "AGENT_MESSAGES",
	"TIMERS", "COMMANDS", "OUTCOMES", "DEAD_LETTERS", "KV_TIDEMARK_QUARANTINE"}

// deletions returns a fault for each stream: its deletion.
func deletions(streams ...string) (all []fault) {
	for _, name := range streams {
		all = append(all, fault{"deletion of " + name, func(w *world) {
			js := w.OperatorJetStream(w.t) // clients may not delete all of them
			w.ask("delete "+name, func(ctx context.Context) error {
				err := js.DeleteStream(ctx, name)
				if errors.Is(err, jetstream.ErrStreamNotFound) {
					return nil // an earlier attempt had no answer
				}
				return err
			})
		}})
	}
	return all
}

// ask repeats a request to JetStream until it is answered.
func (w *world) ask(what string, do func(ctx context.Context) error) {
	w.t.Helper()
	harness.Eventually(w.t, what, func() error {
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		defer cancel()
		return do(ctx)
	})
}

// pause lasts a time between two bounds.
func (w *world) pause(low, high time.Duration) {
	pause(w.t.Context(), low+time.Duration(w.random.Int64N(int64(high-low))))
}

func (w *world) signal(pid int, s syscall.Signal) {
	if err := syscall.Kill(pid, s); err != nil && err != syscall.ESRCH {
		w.t.Errorf("signal process %d: %v", pid, err)
	}
}

// exec runs statements as the superuser.
func (w *world) exec(statements ...string) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.sql.SuperuserURL())
	harness.Must(w.t, err)
	defer conn.Close(context.Background())
	for _, s := range statements {
		_, err := conn.Exec(w.t.Context(), s)
		harness.Mustf(w.t, err, "%s", s)
	}
}

// inTx runs a statement and keeps its locks for some seconds.
func (w *world) inTx(statement string) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.sql.SuperuserURL())
	harness.Must(w.t, err)
	defer conn.Close(context.Background())
	tx, err := conn.Begin(w.t.Context())
	harness.Must(w.t, err)
	_, err = tx.Exec(w.t.Context(), statement)
	harness.Mustf(w.t, err, "%s", statement)
	w.pause(time.Second, 5*time.Second)
	harness.Must(w.t, tx.Rollback(w.t.Context()))
}

// recovered waits until the engine is ready and takes a command, every stream is there, and every
// view has caught up. It returns how long that took.
func (w *world) recovered(name string) time.Duration {
	w.t.Helper()
	began := time.Now()
	harness.Eventually(w.t, "the engine has recovered from "+name, func() error {
		if code, body := w.Ready(); code != 200 {
			return fmt.Errorf("/readyz says %d %s", code, body)
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		defer cancel()
		if _, err := w.client.Set(ctx, "probe", "k", "again", harness.M{"strategy": "last_write_wins"}); err != nil {
			return err
		}
		for _, name := range streams {
			if _, err := w.client.JS.Stream(ctx, name); err != nil {
				return fmt.Errorf("stream %s: %w", name, err)
			}
		}
		return nil
	})
	w.client.CaughtUp(w.t)
	return time.Since(began)
}

// TestFaultSchedule strikes an engine under load with faults in a random order. After each it must
// recover without help; at the end nothing acknowledged is lost, nothing took effect twice, and
// every entry's history is linearizable. TIDEMARK_TEST_SEED replays a schedule.
func TestFaultSchedule(t *testing.T) {
	t.Parallel()
	seed := uint64(12069231781170113441) // of a short run, which always plays the same schedule
	if harness.Long() {
		seed = rand.Uint64()
	}
	if text := os.Getenv("TIDEMARK_TEST_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		harness.Must(t, err)
	}
	t.Logf("TIDEMARK_TEST_SEED=%d replays this schedule", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	count := harness.Rounds(4, 10*len(faults))
	var times []time.Duration
	histories := 0
	for done := 0; done < count; {
		w := &world{t: t, sql: startExternal(t), random: random}
		w.Engine = harness.Start(t, harness.Config{SQL: w.sql.URL()})
		w.client = w.Engine.Client(t)
		l := newLoad(t, 5*time.Millisecond, false)
		l.start(w.Engine, 6)
		for _, n := range random.Perm(len(faults)) {
			if done++; done > count || t.Failed() {
				break
			}
			l.wait(20)
			f := faults[n]
			f.strike(w)
			took := w.recovered(f.name)
			t.Logf("%s: recovered after %s", f.name, took.Round(time.Millisecond))
			times = append(times, took)
		}
		l.judgeOthers(w.Engine, "probe")
		histories += l.histories
	}
	slices.Sort(times)
	t.Logf("%d faults of %d kinds, %d histories; recovery p50 %s, p99 %s, longest %s", len(times), len(faults), histories,
		times[len(times)/2], times[len(times)*99/100], times[len(times)-1])
	if p99 := times[len(times)*99/100]; harness.Long() && p99 > 10*time.Second {
		t.Errorf("recovery took %s at p99, more than 10 s", p99)
	}
}
