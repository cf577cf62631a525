package outbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/outbox"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// handler records the requests that a relay sends, and refuses bodies that are no
// JSON, as the engine does.
type handler struct {
	mu   sync.Mutex
	all  []commands.Request
	wait map[string]bool // agents whose commands must wait
}

func (h *handler) handle(_ context.Context, req commands.Request, done func(commands.Receipt, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wait[req.ID] {
		done(commands.Receipt{}, undecided[len(req.ID)%2])
		return
	}
	h.all = append(h.all, req)
	done(commands.Receipt{CommandID: req.CommandID, Outcome: domain.Accepted}, domain.CheckJSON(req.Body))
}

// undecided are errors of commands that must wait: a store is away, and others came first
// in each attempt.
var undecided = [2]error{
	domain.Errorf(domain.Conflict, "state.contended", "others came first"), domain.Errorf(domain.Unavailable, "test.away", "not now"),
}

func (h *handler) ids(aggregate string) (ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.all {
		if r.ID == aggregate {
			ids = append(ids, r.CommandID)
		}
	}
	return ids
}

// relay relays until the test ends, or stop is called.
func relay(t *testing.T, db *pg.DB, h *handler) (stop func()) {
	t.Helper()
	o := &outbox.Outbox{DB: db, BodyBytes: 1000, Handle: h.handle, Log: harness.Log(t)}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

func exec(t *testing.T, db *pg.DB, sql string, args ...any) {
	t.Helper()
	_, err := db.Pool().Exec(t.Context(), sql, args...)
	harness.Mustf(t, err, "%s", sql)
}

func relayed(t *testing.T, db *pg.DB, waiting int) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("%d rows wait", waiting), func() bool {
		return pgtest.Count(t, db, `SELECT count(*) FROM agents.outbox WHERE done_at IS NULL`) == waiting
	})
}

func outcome(t *testing.T, db *pg.DB, id string) (text string) {
	t.Helper()
	harness.Must(t, db.Pool().QueryRow(t.Context(), `SELECT coalesce(outcome::text, '') FROM agents.outbox WHERE command_id = $1`, id).Scan(&text))
	return text
}

// TestOddRows: whatever an application writes is accepted by its INSERT and gets
// an outcome; no row stops the relay or its aggregate.
func TestOddRows(t *testing.T) {
	t.Parallel()
	db, h := pgtest.Migrated(t), &handler{}
	bodies := []string{
		`{"b":1,"a":[1e2,2.50]}`, `{"a": 1e300}`, `[12345678901234567890.10]`, ` {"x" : 1} `, // bytes stay as they are
	}
	for i, body := range bodies {
		exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, 'agent.good.set', $2)`, fmt.Sprint("good-", i), body)
	}
	bad := map[string]string{ // by id, the code of the outcome
		"1e400": "json.invalid", "twice": "json.invalid", "nul": "json.invalid", "text": "json.invalid",
		"large": "body.too_large", "subject": "command.unknown", "long-subject": "command.unknown", "empty": "id.invalid",
	}
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body) VALUES
		('1e400', 'agent.a.set', '{"a":1e400}'), ('twice', 'agent.a.set', '{"a":1,"a":2}'), ('nul', 'agent.a.set', '{"a":"\u0000"}'),
		('text', 'agent.a.set', 'no JSON'), ('large', 'agent.a.set', repeat('x', 100000000)), ('subject', E'a.\nb\t.c.d.e', '{}'),
		('long-subject', repeat('x', 2500), '{}')`)
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body, created_at, attempts) VALUES
		('bc', 'agent.dates.set', '{}', '0044-03-15 BC', 0), ('never', 'agent.dates.set', '{}', '-infinity', 0),
		('ever', 'agent.dates.set', '{}', 'infinity', 0), ('9999', 'agent.dates.set', '{}', '290000-01-01', 0),
		('attempts', 'agent.dates.set', '{}', now(), 2147483647), ('negative', 'agent.dates.set', '{}', now(), -2147483648),
		('null', 'agent.dates.set', NULL, now(), 0)`)
	exec(t, db, `INSERT INTO agents.outbox (id, command_id, subject, body) OVERRIDING SYSTEM VALUE VALUES
		(-9223372036854775808, 'first', 'agent.ids.set', '{}'), (9223372036854775807, 'last', 'agent.ids.set', '{}')`)
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) VALUES ('', 'agent.a.set')`)
	relay(t, db, h)
	relayed(t, db, 0)

	h.mu.Lock()
	var got []string
	for _, req := range h.all {
		if req.ID == "good" {
			got = append(got, string(req.Body))
		}
		if req.MadeAt.Before(time.Unix(0, 0).Add(-time.Hour)) || req.MadeAt.After(time.Now()) {
			t.Errorf("%s is said to be made at %s", req.CommandID, req.MadeAt)
		}
	}
	h.mu.Unlock()
	if !slices.Equal(got, bodies) {
		t.Errorf("bodies %q, want %q", got, bodies)
	}
	if n := len(h.ids("dates")) + len(h.ids("ids")); n != 9 {
		t.Errorf("%d rows with odd dates, attempts and ids were executed", n)
	}
	delete(bad, "empty")
	for id, code := range bad {
		if o := outcome(t, db, id); code == "json.invalid" && !strings.Contains(o, `"error"`) || code != "json.invalid" && !strings.Contains(o, code) {
			t.Errorf("%s: outcome %s, want %s", id, o, code)
		}
	}
	if n := pgtest.Count(t, db, `SELECT attempts FROM agents.outbox WHERE command_id = 'attempts'`); n != 2147483647 {
		t.Errorf("%d attempts", n)
	}
}

// TestDefect: the outcome of a row that meets a defect of the engine has the trace id under
// which the log has the cause, and not the cause.
func TestDefect(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('c1', 'agent.a.set', '{}')`)
	var log lockedBuffer
	o := &outbox.Outbox{DB: db, BodyBytes: 1000, Log: slog.New(slog.NewTextHandler(&log, nil)), Handle: func(_ context.Context, _ commands.Request, done func(commands.Receipt, error)) {
		done(commands.Receipt{}, errors.New("a secret of the engine"))
	}}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	defer running.Wait()
	defer cancel()
	relayed(t, db, 0)
	text := outcome(t, db, "c1")
	var answer struct {
		Error struct {
			Details struct {
				TraceID string `json:"trace_id"`
			} `json:"details"`
		} `json:"error"`
	}
	harness.Must(t, json.Unmarshal([]byte(text), &answer))
	if id := answer.Error.Details.TraceID; id == "" || strings.Contains(text, "secret") || !strings.Contains(log.String(), id) || !strings.Contains(log.String(), "a secret of the engine") {
		t.Errorf("outcome %s, log %s", text, log.String())
	}
}

// lockedBuffer is a buffer that several goroutines may use.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestRefusedMark: a row whose outcome the database refuses stops its own
// aggregate alone.
func TestRefusedMark(t *testing.T) {
	t.Parallel()
	db, h := pgtest.Migrated(t), &handler{}
	exec(t, db, `CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN IF NEW.command_id = 'odd' THEN RAISE 'not this one'; END IF; RETURN NEW; END $$`)
	exec(t, db, `CREATE TRIGGER no BEFORE UPDATE ON agents.outbox FOR EACH ROW EXECUTE FUNCTION no()`)
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) VALUES ('odd', 'agent.odd.set')`)
	for i := range 50 {
		exec(t, db, `INSERT INTO agents.outbox (command_id, subject) VALUES ($1, $2)`, fmt.Sprint("c", i), fmt.Sprintf("agent.a%d.set", i%5))
	}
	relay(t, db, h)
	relayed(t, db, 1)
}

// TestWaitingAggregates: commands that must wait stop their own aggregates alone,
// however many they are.
func TestWaitingAggregates(t *testing.T) {
	t.Parallel()
	db, h := pgtest.Migrated(t), &handler{wait: map[string]bool{}}
	const waiting = 1000 // more than are read or executed at once
	for i := range waiting {
		h.wait[fmt.Sprint("w", i)] = true
	}
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) SELECT 'w' || i, 'agent.w' || i || '.set' FROM generate_series(0, $1) i`, waiting-1)
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) SELECT 'b' || i, 'agent.w0.set' FROM generate_series(1, 500) i`)
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) SELECT 'f' || i, 'agent.f' || i || '.set' FROM generate_series(1, 100) i`)
	relay(t, db, h)
	harness.Eventually(t, "the others are executed", func() bool {
		return pgtest.Count(t, db, `SELECT count(*) FROM agents.outbox WHERE done_at IS NOT NULL`) == 100
	})
	if ids := h.ids("w0"); len(ids) > 0 {
		t.Fatalf("executed although it must wait: %v", ids)
	}
	h.mu.Lock()
	h.wait = nil
	h.mu.Unlock()
	relayed(t, db, 0)
	ids := h.ids("w0")
	if len(ids) != 501 || ids[0] != "w0" || ids[1] != "b1" || ids[500] != "b500" {
		t.Errorf("order of w0: %v", ids)
	}
}

// TestCommitOrder: the rows of an aggregate are executed in the order of the
// commits, also of two-phase ones, and not in that of the inserts.
func TestCommitOrder(t *testing.T) {
	t.Parallel()
	db, h := pgtest.Migrated(t), &handler{}
	conns := map[string]*pgx.Conn{}
	for _, name := range []string{"a", "b", "c"} {
		c, err := pgx.ConnectConfig(t.Context(), db.Pool().Config().ConnConfig)
		harness.Must(t, err)
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		conns[name] = c
	}
	do := func(name, sql string) {
		t.Helper()
		_, err := conns[name].Exec(t.Context(), sql)
		harness.Mustf(t, err, "%s", sql)
	}
	insert := func(name string) {
		t.Helper()
		do(name, "BEGIN")
		do(name, fmt.Sprintf("INSERT INTO agents.outbox (command_id, subject) VALUES ('%s', 'agent.x.set')", name))
	}
	for _, name := range []string{"a", "b", "c"} {
		insert(name)
	}
	do("b", "PREPARE TRANSACTION 'two-phase'") // NOTIFY would forbid it
	do("c", "COMMIT")
	do("b", "COMMIT PREPARED 'two-phase'")
	do("a", "COMMIT")
	relay(t, db, h)
	relayed(t, db, 0)
	if got := h.ids("x"); !slices.Equal(got, []string{"c", "b", "a"}) {
		t.Errorf("order %v, want that of the commits: c b a", got)
	}
}

// TestLease: a second engine relays within ten seconds when the lease of the
// first is not renewed, whatever connections the first still has, and at once
// when the first stops. An engine of an earlier build, which holds the advisory
// lock, is not disturbed.
func TestLease(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	frozen, err := db.Pool().Acquire(t.Context())
	harness.Must(t, err)
	defer frozen.Release()
	exec(t, db, `INSERT INTO agents.leases VALUES ('outbox', 'frozen', now() + interval '5 s')`)
	_, err = frozen.Exec(t.Context(), `SELECT pg_advisory_lock_shared($1)`, 0x7469646d)
	harness.Must(t, err)
	start := time.Now()
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) VALUES ('c1', 'agent.a.set')`)
	first := &handler{}
	stop := relay(t, db, first)
	harness.Within(t, 10*time.Second, "the takeover", func() bool { return len(first.ids("a")) == 1 })
	if took := time.Since(start); took < 4*time.Second {
		t.Errorf("taken over after %s, before the lease ended", took)
	}
	relayed(t, db, 0)
	second := &handler{}
	relay(t, db, second)
	stop()
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) VALUES ('c2', 'agent.a.set')`)
	relayed(t, db, 0)
	if len(first.ids("a")) != 1 || len(second.ids("a")) != 1 {
		t.Errorf("executed by the first %v, by the second %v", first.ids("a"), second.ids("a"))
	}
}

// TestEarlierBuild: while an engine of an earlier build relays, this build waits.
func TestEarlierBuild(t *testing.T) {
	t.Parallel()
	db, h := pgtest.Migrated(t), &handler{}
	earlier, err := db.Pool().Acquire(t.Context())
	harness.Must(t, err)
	defer earlier.Release()
	_, err = earlier.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, 0x7469646d)
	harness.Must(t, err)
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) VALUES ('c1', 'agent.a.set')`)
	relay(t, db, h)
	harness.Eventually(t, "an attempt to take the lock", func() bool {
		return pgtest.Count(t, db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_try_advisory_lock_shared%'`) > 0
	})
	if ids := h.ids("a"); len(ids) > 0 {
		t.Errorf("relayed beside the earlier build: %v", ids)
	}
	_, err = earlier.Exec(t.Context(), `SELECT pg_advisory_unlock($1)`, 0x7469646d)
	harness.Must(t, err)
	relayed(t, db, 0)
}

// TestLockOfAStranger: who may connect to the database cannot keep the engine from relaying.
func TestLockOfAStranger(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	pgtest.HoldLock(t, db, 0x7469646d)
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) VALUES ('c1', 'agent.a.set')`)
	relay(t, db, &handler{})
	relayed(t, db, 0)
}

// TestLeaseAfterTheClockWasSetBack: a lease that ends later than any can is free.
func TestLeaseAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	exec(t, db, `INSERT INTO agents.leases VALUES ('outbox', 'gone', now() + interval '1 h')`)
	exec(t, db, `INSERT INTO agents.outbox (command_id, subject) VALUES ('c1', 'agent.a.set')`)
	relay(t, db, &handler{})
	relayed(t, db, 0)
}

// TestFailuresAreReported: that rows cannot be read, and that they cannot be marked, and
// the end of both.
func TestFailuresAreReported(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	reports := make(chan error, 1000)
	o := &outbox.Outbox{DB: db, BodyBytes: 1000, Handle: (&handler{}).handle, Report: func(err error) { reports <- err }, Log: harness.Log(t)}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	for name, trouble := range map[string]struct{ begin, end string }{
		"read": {`ALTER TABLE agents.outbox RENAME COLUMN subject TO other`, `ALTER TABLE agents.outbox RENAME COLUMN other TO subject`},
		"mark": {`ALTER TABLE agents.outbox ADD CONSTRAINT never CHECK (done_at IS NULL) NOT VALID`, `ALTER TABLE agents.outbox DROP CONSTRAINT never`},
	} {
		exec(t, db, trouble.begin)
		if name == "mark" {
			exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('c-mark', 'agent.a.set', '{}')`)
		}
		if err := harness.Receive(t, name+": the trouble", reports); err == nil {
			t.Errorf("%s: all is well", name)
		}
		exec(t, db, trouble.end)
		for err := harness.Receive(t, name+": its end", reports); err != nil; {
			err = harness.Receive(t, name+": its end", reports)
		}
		if name == "mark" {
			relayed(t, db, 0)
		}
	}
}
