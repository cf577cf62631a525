package upgrade

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// world is the engine under test on the data directory of an earlier build.
type world struct {
	*harness.Engine
	Fixture
	t    *testing.T
	c    *harness.Client
	sql  *pgx.Conn
	last map[string]uint64 // version of each aggregate when its build stopped
}

// Every fixture is opened, gives the answers that its build gave, and goes on.
func TestUpgrade(t *testing.T) {
	all, err := filepath.Glob("testdata/*.tar.zst")
	if err != nil || len(all) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, path := range all {
		name := strings.TrimSuffix(filepath.Base(path), ".tar.zst")
		t.Run(name, func(t *testing.T) {
			w := open(t, name)
			w.journalIsUnchanged()
			w.answersAreUnchanged()
			w.commandsAreKnown()
			w.deadLettersAreLeft()
			w.verified()
			w.goesOn()
			w.verified()
			w.goesOnUnattended()
		})
	}
}

// open unpacks a fixture, restores its database and starts an engine that does
// nothing by itself.
func open(t *testing.T, name string) *world {
	t.Helper()
	w := &world{t: t, last: map[string]uint64{}}
	dir := harness.TempDir(t)
	var dump string
	var err error
	w.Fixture, dump, err = Read("testdata", name, dir)
	harness.Must(t, err)
	data := filepath.Join(dir, "data")
	restore(t, filepath.Join(data, "postgres"), dump)
	w.Engine = harness.Start(t, harness.Config{Data: data, Env: []string{"TIDEMARK_LIFECYCLE=manual"}})
	w.c = w.Client(t)
	w.sql = w.c.SQL(t)
	for _, l := range w.Last {
		w.last[l.Subject] = l.Version
	}
	return w
}

// restore fills a managed database, together with a command that an application
// inserted while no engine ran.
func restore(t *testing.T, dir, dump string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := local.Start(ctx, local.Config{Dir: dir, Log: harness.Log(t)})
	harness.Must(t, err)
	conn, err := pgx.Connect(ctx, server.SocketURL())
	if err == nil {
		_, err = conn.PgConn().Exec(ctx, dump).ReadAll()
	}
	if err == nil {
		_, err = conn.PgConn().Exec(ctx, `INSERT INTO agents.outbox (command_id, subject, body)
			VALUES ('waited-1', 'commands.agent.a5.set', '{"key":"waited","value":1}')`).ReadAll()
	}
	if err == nil {
		err = conn.Close(ctx)
	}
	if stopErr := server.Stop(ctx); err == nil {
		err = stopErr
	}
	harness.Must(t, err)
}

// journalIsUnchanged looks at the journal's events and their fold up to the
// fixture's head, and at the last event of each aggregate.
func (w *world) journalIsUnchanged() {
	w.t.Helper()
	s, err := w.c.JS.Stream(w.t.Context(), "EVENTS")
	harness.Must(w.t, err)
	if n := s.CachedInfo().State.Msgs; int(n) >= w.Events || w.Trimmed == 0 {
		w.t.Errorf("the journal holds %d messages of %d events: nothing was trimmed", n, w.Events)
	}
	for _, l := range w.Last {
		if slices.Contains(w.Due, l.Subject) {
			continue
		}
		msg, err := s.GetLastMsgForSubject(w.t.Context(), l.Subject)
		if err != nil {
			w.t.Errorf("%s: %v", l.Subject, err)
			continue
		}
		got := Last{Subject: l.Subject, Revision: msg.Sequence}
		harness.Must(w.t, json.Unmarshal(msg.Data, &got))
		if got != l {
			w.t.Errorf("the last event is %+v, was %+v", got, l)
		}
	}
	to := fmt.Sprint(w.Head)
	replay := w.Run("replay", "--to", to)
	if n, sum := strings.Count(replay.Stdout, "\n"), fmt.Sprintf("%x", sha256.Sum256([]byte(replay.Stdout))); replay.Code != 0 || n != w.Events || sum != w.Replay {
		w.t.Errorf("replay ended with %d: %d events of SHA-256 %s, were %d of %s\n%s", replay.Code, n, sum, w.Events, w.Replay, replay.Stderr)
	}
	if r := w.Run("replay", "--to", to, "--state"); r.Code != 0 || !strings.Contains(r.Stderr, w.State) {
		w.t.Errorf("replay --state ended with %d: %s, was %s", r.Code, r.Stderr, w.State)
	}
}

// answersAreUnchanged asks what was asked of the fixture's build.
func (w *world) answersAreUnchanged() {
	w.t.Helper()
	entry := w.c.MustGet(w.t, "a1", "plan", M{"consistency": "durable", "token": w.Token, "wait_ms": 60_000})
	if entry.Source != "sql" || string(entry.Value) != `{"step":1}` {
		w.t.Errorf("a read with an old token: %s", entry)
	}
	for _, a := range w.Answers {
		if len(a.Args) > 0 {
			r := w.Run(a.Args[0], a.Args[1:]...)
			for i, line := range strings.Split(strings.TrimSpace(a.Reply), "\n") {
				now := strings.Split(strings.TrimSpace(r.Stdout), "\n")
				if r.Code != 0 || len(now) <= i {
					w.t.Errorf("%v ended with %d: %s%s", a.Args, r.Code, r.Stdout, r.Stderr)
					break
				}
				same(w.t, fmt.Sprint(a.Args), now[i], line)
			}
			continue
		}
		got, err := w.c.Query(w.t.Context(), "queries."+a.Subject, a.Body)
		if err != nil {
			w.t.Errorf("%s %s: %v", a.Subject, a.Body, err)
			continue
		}
		same(w.t, a.Subject+" "+a.Body, string(got), a.Reply)
	}
	var messages []string
	harness.Must(w.t, w.sql.QueryRow(w.t.Context(), `SELECT array_agg(message_id ORDER BY sequence) FROM agents.messages`).Scan(&messages))
	if !slices.Equal(messages, w.Messages) {
		w.t.Errorf("messages %v, were %v", messages, w.Messages)
	}
}

// commandsAreKnown sends each command again: it has taken effect.
func (w *world) commandsAreKnown() {
	w.t.Helper()
	for _, c := range w.Commands {
		what := fmt.Sprintf("%s %s %.80s", c.Subject, c.ID, c.Body)
		msg := &nats.Msg{Subject: "commands." + c.Subject, Data: []byte(c.Body), Header: nats.Header{}}
		if c.ID != "" {
			msg.Header.Set(nats.MsgIdHdr, c.ID)
		}
		got, err := w.c.Ask(w.t.Context(), msg)
		if r := harness.Refused(err); r != nil && r.Status == c.Refused {
			got = r.Body
		} else if err != nil || c.Refused != 0 {
			w.t.Errorf("%s: %s %v, was %d %s", what, got, err, c.Refused, c.Reply)
			continue
		}
		same(w.t, what, string(got), c.Reply)
		if c.Refused == 0 && (!strings.Contains(string(got), `"replayed":true`) || strings.Contains(string(got), `"replayed":false`)) {
			w.t.Errorf("%s: not replayed: %s", what, got)
		}
	}
}

// deadLettersAreLeft finds what was set aside, and retries the quarantined
// aggregate once the reason for it is gone.
func (w *world) deadLettersAreLeft() {
	w.t.Helper()
	r := harness.Run(w.t, "dlq", "list", "--json", "--data", w.Data)
	got, err := DeadLetters(r.Stdout)
	harness.Must(w.t, err)
	if !slices.Equal(got, w.DeadLetters) || len(got) == 0 {
		w.t.Errorf("dead letters %v, were %v", got, w.DeadLetters)
	}
	_, err = w.sql.Exec(w.t.Context(), w.Release)
	harness.Must(w.t, err)
	if r := harness.Run(w.t, "dlq", "retry", w.Held, "--data", w.Data); r.Code != 0 {
		w.t.Errorf("dlq retry %s ended with %d: %s%s", w.Held, r.Code, r.Stdout, r.Stderr)
	}
}

// verified asks that every tier is equal to the history.
func (w *world) verified() {
	w.t.Helper()
	w.c.CaughtUp(w.t)
	r := w.Run("verify", "--json")
	type counts struct {
		Rows, Equal, Newer, Expired, Differences int
	}
	var report struct {
		Archive *counts
		Tiers   []struct {
			Name string
			counts
		}
	}
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || r.Code != 0 || report.Archive == nil || len(report.Tiers) != 2 {
		w.t.Fatalf("verify ended with %d: %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	check := func(tier string, c counts) {
		if c.Rows == 0 || c.Differences > 0 || c.Equal+c.Newer+c.Expired < c.Rows {
			w.t.Errorf("%s: %+v", tier, c)
		}
	}
	check("archive", *report.Archive)
	for _, tier := range report.Tiers {
		check(tier.Name, tier.counts)
	}
}

// goesOn changes an aggregate of every kind, and waits for what changes by
// itself.
func (w *world) goesOn() {
	w.t.Helper()
	w.next("events.agent.a1.state.mood", "agent.a1.set", M{"key": "mood", "value": "new", "strategy": "last_write_wins"})
	w.next("events.agent.a1.state.plan", "agent.a1.set", M{"key": "plan", "value": 2, "expected_version": w.last["events.agent.a1.state.plan"]})
	w.next("events.agent.a4.state.k", "agent.a4.delete", M{"key": "k"})
	w.next("events.agent.a2.lifecycle", "agent.a2.hydrate", M{})
	w.next("events.config.a2.model", "config.a2.set", M{"key": "model", "value": "largest"})
	w.next("events.task.waits", "task.waits.start", M{"agent_id": "a1"})
	w.next("events.task.runs", "task.runs.complete", M{"result": "at last"})
	w.next("events.task.queued", "task.queued.cancel", M{"reason": "late"})
	fork := w.next("events.agent.fork3.lifecycle", "agent.fork3.fork", M{"from": "a1", "at_revision": 10})
	entries, err := w.c.Query(w.t.Context(), "queries.agent.fork3.entries", M{"token": fork.Token, "wait_ms": 60_000})
	harness.Must(w.t, err)
	same(w.t, "a fork of what was trimmed", string(entries), `{"entries":[{"key":"mood","value":"\u00e9é\/"}]}`)
	w.next("events.session.new", "session.new.open", M{"owner": "a1", "ttl": 3600})
	if r, err := w.c.Command(w.t.Context(), "commands.session.open.put", "", M{"key": "cart", "value": 1}); err == nil {
		w.version("events.session.open", r.Version)
	} else if refused := harness.Refused(err); refused == nil || refused.Code != "session.expired" { // it was opened for 30 days
		w.t.Errorf("put: %v", err)
	}
	if _, err := w.c.Command(w.t.Context(), "commands.message.a1.direct", "", M{"to": "a2", "body": "again"}); err != nil {
		w.t.Error(err)
	}
	id := harness.NewID()
	_, err = w.c.JS.Publish(w.t.Context(), "enqueue.task.meant.start", []byte(`{"agent_id":"a1"}`), jetstream.WithMsgID(id))
	harness.Must(w.t, err)
	harness.Within(w.t, 30*time.Second, "a durable command has an outcome", func() error {
		body, err := w.c.Query(w.t.Context(), "queries.command."+id+".get", nil)
		var r harness.Receipt
		if err == nil {
			err = json.Unmarshal(body, &r)
		}
		if err == nil && r.Version != w.last["events.task.meant"]+1 {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
	harness.Within(w.t, 30*time.Second, "the outbox is relayed", func() error {
		var outcome string
		err := w.sql.QueryRow(w.t.Context(), `SELECT outcome->>'outcome' FROM agents.outbox WHERE command_id = 'waited-1' AND done_at IS NOT NULL`).Scan(&outcome)
		if err == nil && outcome != "accepted" {
			err = fmt.Errorf("outcome %s", outcome)
		}
		return err
	})
	for _, subject := range []string{"session.due", "task.due"} { // their time is a minute after the fixture was made
		harness.Within(w.t, 2*time.Minute, subject+" has ended", func() error {
			body, err := w.c.Query(w.t.Context(), "queries."+subject+".get", M{})
			if err == nil && !strings.Contains(string(body), `"version":2`) {
				err = fmt.Errorf("%s", body)
			}
			return err
		})
	}
}

// goesOnUnattended restarts the engine with its lifecycles automatic: an agent
// that is silent or cold is hydrated by a write.
func (w *world) goesOnUnattended() {
	w.t.Helper()
	w.Stop()
	w.Engine = harness.Start(w.t, harness.Config{Data: w.Data})
	w.c = w.Client(w.t)
	for _, agent := range []string{"a1", "a3"} {
		w.c.MustSet(w.t, agent, "awake", 1, nil)
		harness.Within(w.t, 30*time.Second, agent+" is active", func() error {
			body, err := w.c.Query(w.t.Context(), "queries.agent."+agent+".lifecycle", nil)
			if err == nil && !strings.Contains(string(body), `"phase":"active"`) {
				err = fmt.Errorf("%s", body)
			}
			return err
		})
	}
	w.verified()
}

// next sends a new command, which must give its aggregate the next version.
func (w *world) next(subject, command string, body any) harness.Receipt {
	w.t.Helper()
	r, err := w.c.Command(w.t.Context(), "commands."+command, harness.NewID(), body)
	if err != nil || r.Outcome != "accepted" || r.Replayed {
		w.t.Fatalf("%s: %+v %v", command, r, err)
	}
	w.version(subject, r.Version)
	return r
}

func (w *world) version(subject string, got uint64) {
	w.t.Helper()
	if want := w.last[subject] + 1; got != want {
		w.t.Errorf("%s has version %d, want %d", subject, got, want)
	}
}
