package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

type M = harness.M

// TestLostWork removes what the engine's work is stored in, with plain clients: while the
// engine is away, messages instead of streams, consumers while events pass, settings
// instead of streams. Nothing of the work is lost, and no restart is needed.
func TestLostWork(t *testing.T) {
	url := start(t, func(*server.Options) {}).ClientURL()
	e := harness.Start(t, harness.Config{Args: []string{"--nats", url}})
	e.NATSURL = url
	c := e.Client(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *harness.Engine, *harness.Client)
	}{
		{"timers", lostTimers}, {"consumers of reactors", lostReactions}, {"consumers of tasks", lostTasks},
		{"settings", lostSettings}, {"rows", lostRows}, {"outbox", lostRights}, {"streams of others", ofOthers}, {"sealed streams", sealed}, {"sealed journal", sealedJournal},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, e, c) })
	}
}

// timed makes a task with a deadline, a claim with a lease and a reminder.
func timed(t *testing.T, c *harness.Client, id string, in time.Duration) {
	t.Helper()
	at := time.Now().Add(in).UTC().Format(time.RFC3339Nano)
	c.MustDo(t, "task."+id+".create", M{"kind": "x", "deadline": at})
	c.MustDo(t, "claim."+id+".acquire", M{"owner": "o", "lease_ms": in.Milliseconds()})
	c.MustDo(t, "reminder."+id+".set", M{"at": at, "command": M{"subject": "agent." + id + ".set", "body": M{"key": "reminded", "value": 1}}})
}

// timers are the names of the timers that timed causes.
func timers(id string) []string { return []string{"deadline." + id, "claim." + id, "reminder." + id} }

// passed waits until the time of what timed has made has passed for each.
func passed(t *testing.T, c *harness.Client, id string) {
	t.Helper()
	for _, row := range []struct{ bucket, key, has string }{
		{"TASK_STATE", id, `"cancelled"`}, {"CLAIM_STATE", id, `"expired"`}, {"AGENT_STATE", id + ".reminded", "1"},
	} {
		harness.Eventually(t, row.bucket+" has "+row.has, func() error {
			v, err := value(t, c.JS, row.bucket, row.key)
			if err == nil && !strings.Contains(v, row.has) {
				err = errors.New(v)
			}
			return err
		})
	}
}

func lostTimers(t *testing.T, e *harness.Engine, c *harness.Client) {
	stream := func() jetstream.Stream {
		s, err := c.JS.Stream(t.Context(), "TIMERS")
		harness.Must(t, err)
		return s
	}
	for _, part := range []struct {
		name string
		away bool // while the engine is away
		lose func(id string)
	}{
		{"stream-away", true, func(string) { harness.Must(t, c.JS.DeleteStream(t.Context(), "TIMERS")) }},
		{"old-ones-away", true, func(string) { harness.Must(t, stream().Purge(t.Context(), jetstream.WithPurgeKeep(1))) }},
		{"all", false, func(string) { harness.Must(t, stream().Purge(t.Context())) }},
		{"some", false, func(id string) {
			for i, name := range timers(id) {
				msg, err := stream().GetLastMsgForSubject(t.Context(), "timers.at."+name)
				switch {
				case err != nil: // it has fired on a slow machine
				case i == 0:
					harness.Must(t, stream().DeleteMsg(t.Context(), msg.Sequence))
				default:
					harness.Must(t, stream().Purge(t.Context(), jetstream.WithPurgeSubject(msg.Subject)))
				}
			}
		}},
	} {
		t.Run(part.name, func(t *testing.T) {
			timed(t, c, part.name, 5*time.Second)
			for _, name := range timers(part.name) {
				harness.Eventually(t, "the timer "+name+" is set", func() error {
					_, err := stream().GetLastMsgForSubject(t.Context(), "timers.at."+name)
					return err
				})
			}
			if part.away {
				e.Stop()
			}
			part.lose(part.name)
			if part.away {
				e.Restart()
			}
			passed(t, c, part.name)
		})
	}
}

// lostReactions removes the consumers of reactors with the events that they have not
// delivered.
func lostReactions(t *testing.T, e *harness.Engine, c *harness.Client) {
	for _, away := range []bool{false, true} {
		id := fmt.Sprint("reaction-", away)
		names := []string{"reactor-deadline", "reactor-lease", "reactor-reminder", "reactor-hydrate"}
		for _, name := range names {
			_, err := c.JS.PauseConsumer(t.Context(), "EVENTS", name, time.Now().Add(time.Hour))
			harness.Mustf(t, err, "pause %s", name)
		}
		timed(t, c, id, 4*time.Second)
		c.MustSet(t, id+"-agent", "k", 1, nil)
		harness.Eventually(t, "the agent hydrates", phase(t, c, id+"-agent", "hydrating"))
		if away {
			e.Kill()
		}
		for _, name := range names {
			harness.Must(t, c.JS.DeleteConsumer(t.Context(), "EVENTS", name))
		}
		if away {
			e.Restart()
		}
		passed(t, c, id)
		harness.Eventually(t, "the agent is active", phase(t, c, id+"-agent", "active"))
	}
}

// phase asks whether an agent is in a phase.
func phase(t *testing.T, c *harness.Client, agent, want string) func() error {
	return func() error {
		got, err := c.Query(t.Context(), "queries.agent."+agent+".lifecycle", M{})
		if err == nil && !strings.Contains(string(got), `"`+want+`"`) {
			err = errors.New(string(got))
		}
		return err
	}
}

// lostTasks removes the consumers of the feed of tasks.
func lostTasks(t *testing.T, e *harness.Engine, c *harness.Client) {
	begin := func(id string) {
		c.MustDo(t, "task."+id+".create", M{"kind": "x"})
		c.MustDo(t, "task."+id+".start", M{"agent_id": "worker"})
	}
	next := func(d time.Duration) (jetstream.Msg, string) {
		consumer, err := c.JS.Consumer(t.Context(), "TASK_EXECUTION", "task-processor")
		if err != nil {
			return nil, ""
		}
		msg, err := consumer.Next(jetstream.FetchMaxWait(d))
		if err != nil {
			return nil, ""
		}
		return msg, strings.Split(msg.Subject(), ".")[2]
	}
	take := func(ids ...string) {
		t.Helper()
		var got []string
		harness.Eventually(t, fmt.Sprintf("a worker gets %q", ids), func() error {
			if msg, id := next(time.Second); msg != nil {
				harness.Must(t, msg.DoubleAck(t.Context()))
				got = append(got, id)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, ids) {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
	}
	begin("w1")
	take("w1")
	c.MustDo(t, "task.w1.complete", M{})
	begin("w2")
	harness.Eventually(t, "the feed has w2", func() error {
		s, err := c.JS.Stream(t.Context(), "TASK_EXECUTION")
		if err == nil {
			_, err = s.GetLastMsgForSubject(t.Context(), "tasks.started.w2.>")
		}
		return err
	})
	harness.Must(t, c.JS.DeleteConsumer(t.Context(), "TASK_EXECUTION", "task-processor"))
	begin("w3")
	take("w2", "w3")

	harness.Must(t, c.JS.DeleteConsumer(t.Context(), "TASK_EXECUTION", "feeds-position"))
	harness.Eventually(t, "the position is stored again", func() error {
		s, err := c.JS.Stream(t.Context(), "TASK_EXECUTION")
		if err == nil {
			_, err = s.GetLastMsgForSubject(t.Context(), "tasks.created.$feeds.0")
		}
		return err
	})
	e.Stop()
	e.Restart()
	begin("w4")
	take("w4") // and none of those before
}

// lostSettings changes streams instead of removing them.
func lostSettings(t *testing.T, e *harness.Engine, c *harness.Client) {
	config := func(name string) jetstream.StreamConfig {
		s, err := c.JS.Stream(t.Context(), name)
		harness.Must(t, err)
		return s.CachedInfo().Config
	}
	was := map[string]jetstream.StreamConfig{}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"EVENTS": func(cfg *jetstream.StreamConfig) {
			cfg.MaxAge, cfg.MaxMsgsPerSubject, cfg.NoAck = time.Hour, 1000, true
			cfg.Subjects, cfg.SubjectTransform = []string{"not.events"}, nil
		},
		"TIMERS":                 func(cfg *jetstream.StreamConfig) { cfg.MaxAge, cfg.MaxMsgSize = time.Hour, 10 },
		"COMMANDS":               func(cfg *jetstream.StreamConfig) { cfg.Discard, cfg.SubjectTransform = jetstream.DiscardOld, nil },
		"OUTCOMES":               func(cfg *jetstream.StreamConfig) { cfg.MaxMsgs, cfg.NoAck = 1_000_000, true },
		"DEAD_LETTERS":           func(cfg *jetstream.StreamConfig) { cfg.Subjects = []string{"elsewhere"} },
		"KV_TIDEMARK_LEASES":     func(cfg *jetstream.StreamConfig) { cfg.MaxAge = 0 },
		"KV_TIDEMARK_QUARANTINE": func(cfg *jetstream.StreamConfig) { cfg.MaxAge = time.Hour },
	} {
		was[name] = config(name)
		cfg := was[name]
		change(&cfg)
		_, err := c.JS.UpdateStream(t.Context(), cfg)
		harness.Mustf(t, err, "change %s", name)
	}
	for name := range was {
		harness.Eventually(t, name+" has its settings again", func() error {
			if got, want := text(withoutStart(config(name))), text(withoutStart(was[name])); got != want {
				return fmt.Errorf("%s\nwas %s", got, want)
			}
			return nil
		})
	}
	_, err := c.JS.PauseConsumer(t.Context(), "COMMANDS", "lane-3", time.Now().Add(time.Hour))
	harness.Must(t, err)
	harness.Eventually(t, "/readyz names the paused consumer", says(e, "lane-3 of stream COMMANDS is paused", true))
	_, err = c.JS.ResumeConsumer(t.Context(), "COMMANDS", "lane-3")
	harness.Must(t, err)
	harness.Eventually(t, "/readyz does not name it", says(e, "lane-3", false))
}

// says asks whether /readyz, which is 200, names a problem.
func says(e *harness.Engine, problem string, want bool) func() error {
	return func() error {
		code, body := e.Ready()
		if code != 200 || strings.Contains(body, problem) != want {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	}
}

// lostRows removes rows of read models.
func lostRows(t *testing.T, _ *harness.Engine, c *harness.Client) {
	sql := c.SQL(t)
	c.MustDo(t, "view.towns.define", M{"from": "state", "agents": "shop-*", "into": []string{"sql", "kv"}, "columns": M{"city": M{"path": "/value", "type": "text"}}})
	c.MustSet(t, "shop-1", "city", "Oslo", nil)
	r := c.MustSet(t, "shop-2", "city", "Rome", nil)
	row := func() error { _, err := value(t, c.JS, "VIEW_towns", "shop-1.city"); return err }
	harness.Eventually(t, "the bucket has the row", row)
	s, err := c.JS.Stream(t.Context(), "KV_VIEW_towns")
	harness.Must(t, err)
	harness.Must(t, s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.VIEW_towns.shop-1.city")))
	harness.Eventually(t, "the bucket has the row again", row)

	c.MustGet(t, "shop-2", "city", M{"consistency": "durable", "token": r.Token})
	c.MustDo(t, "task.row.create", M{"kind": "x"})
	c.CaughtUp(t)
	for _, table := range []string{"state", "tasks", "view_towns"} {
		_, err = sql.Exec(t.Context(), "TRUNCATE agents."+table)
		harness.Must(t, err)
		harness.Eventually(t, "the table "+table+" has its rows again", func() error {
			var n int
			err := sql.QueryRow(t.Context(), "SELECT count(*) FROM agents."+table).Scan(&n)
			if err == nil && n == 0 {
				err = errors.New("it is empty")
			}
			return err
		})
	}
	_, err = sql.Exec(t.Context(), "DELETE FROM agents.checkpoints WHERE view = 'view.towns'")
	harness.Must(t, err)
	c.MustSet(t, "shop-3", "city", "Cork", nil)
	harness.Eventually(t, "a view that has lost its positions goes on", func() error { _, err := value(t, c.JS, "VIEW_towns", "shop-3.city"); return err })
	c.MustGet(t, "shop-2", "city", M{"consistency": "durable", "token": r.Token})
	_, err = sql.Exec(t.Context(), "ALTER TABLE agents.state DROP CONSTRAINT state_pkey")
	harness.Must(t, err)
	r = c.MustSet(t, "shop-2", "city", "Lima", nil)
	harness.Eventually(t, "rows are written without a restart", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		got, err := c.Get(ctx, "shop-2", "city", M{"consistency": "durable", "token": r.Token})
		if err == nil && got.Version != r.Version {
			err = fmt.Errorf("version %d", got.Version)
		}
		return err
	})
}

// lostRights takes from the engine's role what the outbox needs: /readyz says so.
func lostRights(t *testing.T, e *harness.Engine, c *harness.Client) {
	sql := c.SQL(t)
	for _, right := range []string{"SELECT", "UPDATE"} {
		_, err := sql.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, 'agent.shop-1.set', '{"key":"box","value":1}')`, harness.NewID())
		harness.Must(t, err)
		_, err = sql.Exec(t.Context(), `REVOKE `+right+` ON agents.outbox FROM CURRENT_USER`)
		harness.Must(t, err)
		_, err = sql.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, 'agent.shop-1.set', '{"key":"box","value":2}')`, harness.NewID())
		harness.Must(t, err)
		harness.Eventually(t, "/readyz says that "+right+" is missing", says(e, "outbox", true))
		_, err = sql.Exec(t.Context(), `GRANT `+right+` ON agents.outbox TO CURRENT_USER`)
		harness.Must(t, err)
		harness.Eventually(t, "/readyz says that all is well", says(e, "outbox", false))
		harness.Eventually(t, "the rows are relayed", func() error {
			var n int
			err := sql.QueryRow(t.Context(), `SELECT count(*) FROM agents.outbox WHERE done_at IS NULL`).Scan(&n)
			if err == nil && n > 0 {
				err = fmt.Errorf("%d wait", n)
			}
			return err
		})
	}
}
