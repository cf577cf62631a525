package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/client"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemark.yaml")
	harness.Must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// TestPrecedence: a flag overrides the environment, which overrides the file,
// which overrides the default.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	relaxed := file(t, "durability: relaxed\npostgres: off\nlimits:\n  value: 100\n")
	for _, c := range []struct {
		name string
		args []string
		env  []string
		want string
	}{
		{"default", []string{"--postgres=off"}, nil, "synced"},
		{"file", []string{"--config", relaxed}, nil, "relaxed"},
		{"file named by the environment", nil, []string{"TIDEMARK_CONFIG=" + relaxed}, "relaxed"},
		{"environment", []string{"--config", relaxed}, []string{"TIDEMARK_DURABILITY=synced"}, "synced"},
		{"flag", []string{"--config", relaxed, "--durability", "relaxed"}, []string{"TIDEMARK_DURABILITY=synced"}, "relaxed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := harness.Start(t, harness.Config{Args: c.args, Env: c.env})
			client := e.Client(t)
			s, err := client.Status(t.Context())
			harness.Must(t, err)
			if s.Durability != c.want || s.Postgres.State != "off" {
				t.Errorf("durability is %q, want %q; postgres is %s", s.Durability, c.want, s.Postgres.State)
			}
			_, err = client.Set(t.Context(), "a", "k", strings.Repeat("x", 200), nil)
			if no := harness.Refused(err); (c.name != "default") != (no != nil && no.Status == 413) {
				t.Errorf("a value over the file's limit: %v", err)
			}
		})
	}
}

// TestConfigurationRefused: the engine refuses a setting that it does not know,
// and names it.
func TestConfigurationRefused(t *testing.T) {
	t.Parallel()
	dir := harness.TempDir(t) + "/data"
	for _, c := range []struct {
		text string
		says string
	}{
		{"durabilty: relaxed\n", "durabilty"},
		{"limits:\n  vallue: 3\n", "vallue"},
		{"limits:\n  value: many\n", "limits-value"},
		{"durability: someday\n", "someday"},
		{"strategies:\n  a1: coin\n", "coin"},
		{"limits: [", "configuration file"},
		{"- a\n- b\n", "configuration file"},
	} {
		r := harness.Run(t, "serve", "--config", file(t, c.text), "--data", dir, "--postgres", "off", "--nats-listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
		if r.Code == 0 || !strings.Contains(r.Stderr, c.says) {
			t.Errorf("%q: %+v, want a word of %q", c.text, r, c.says)
		}
	}
}

// TestPrefix: subject_prefix stands before every subject, and the engine
// answers on no other.
func TestPrefix(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--config", file(t, `
subject_prefix: acme.
limits:
  clock_skew: 10s
strategies:
  a1: last_write_wins
  a1.locked: reject
  a1.locked.not: timestamp
`)}})
	broken := make(chan error, 10)
	c := e.Client(t, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { broken <- err }))
	set := func(agent, key, timestamp string) (harness.Receipt, error) {
		return c.Command(t.Context(), "acme.commands.agent."+agent+".set", "",
			harness.M{"key": key, "value": 1, "timestamp": timestamp})
	}
	now := time.Now().UTC()
	later, earlier := now.Format(time.RFC3339Nano), now.Add(-time.Hour).Format(time.RFC3339Nano)
	for _, s := range []struct{ agent, key, second string }{
		{"a1", "free", "accepted"},
		{"a10", "free", "accepted"}, // a pattern matches a prefix of the text
		{"a1", "locked", "409"},
		{"a1", "locked.too", "409"},
		{"a1", "locked.not.this", "superseded"},
		{"b1", "locked", "superseded"}, // the default
	} {
		r, err := set(s.agent, s.key, later)
		harness.Must(t, err)
		if r.Outcome != "accepted" {
			t.Errorf("first set of %s.%s: %+v", s.agent, s.key, r)
		}
		second := ""
		if r, err = set(s.agent, s.key, earlier); err == nil {
			second = r.Outcome
		} else if no := harness.Refused(err); no != nil && no.Status == 409 {
			second = "409"
		}
		if second != s.second {
			t.Errorf("an older set of %s.%s: %q %v, want %q", s.agent, s.key, second, err, s.second)
		}
	}
	newest, err := set("a1", "listed", later)
	harness.Must(t, err)
	if _, err := set("b1", "skew", now.Add(8*time.Second).Format(time.RFC3339)); err != nil {
		t.Errorf("8 s ahead with a clock_skew of 10 s: %v", err)
	}
	answer, err := c.Query(t.Context(), "acme.queries.agent.a1.get", harness.M{"key": "locked"})
	if err != nil || !strings.Contains(string(answer), `"source":"memory"`) {
		t.Errorf("get: %s %v", answer, err)
	}
	for _, subject := range []string{"commands.agent.a1.set", "queries.engine.status"} {
		if _, err := c.Request(subject, []byte(`{}`), time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s without the prefix: %v", subject, err)
		}
	}
	reminder := func(subject string) harness.M {
		return harness.M{"every_ms": 3600000, "command": harness.M{"subject": subject, "body": harness.M{"key": "k", "value": 1}}}
	}
	for _, subject := range []string{"agent.a1.set", "commands.agent.a1.set", "acme.commands.agent.a1.set"} {
		if _, err := c.Command(t.Context(), "acme.commands.reminder.r1.set", "", reminder(subject)); err != nil {
			t.Errorf("a reminder of %s: %v", subject, err)
		}
	}
	for _, no := range [][3]string{
		{"acme.commands.agent.a1.get", `{}`, "queries go to acme.queries.>"}, {"acme.commands.ghost.a1.set", `{}`, "queries go to acme.queries.>"},
		{"acme.queries.agent.a1.set", `{}`, "commands go to acme.commands.>"},
		{"acme.queries.events.read", `{"subject":"acme.events.agent.a1.>"}`, `begins with acme.events.: leave that out`},
		{"acme.queries.events.read", `{"subject":"events.agent.a1.>"}`, `begins with events.: leave that out`},
	} {
		if m, err := c.Request(no[0], []byte(no[1]), harness.Patience); err != nil || !strings.Contains(string(m.Data), no[2]) {
			t.Errorf("%s: %s, %v", no[0], m.Data, err)
		}
	}
	if status, err := c.Query(t.Context(), "acme.queries.engine.status", nil); err != nil || !strings.Contains(string(status), `"subject_prefix":"acme"`) {
		t.Errorf("the prefix in the status: %.300s, %v", status, err)
	}
	sdk, err := client.Connect(t.Context(), e.NATSURL, client.WithPrefix("acme."))
	harness.Must(t, err)
	defer sdk.Close()
	if _, err := sdk.Agent("a1").Set(t.Context(), "sdk", 1); err != nil {
		t.Errorf("the Go client with a prefix that ends in a dot: %v", err)
	}
	s, err := c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	if got := s.CachedInfo().Config.SubjectTransform; got == nil || got.Destination != "acme.events.>" {
		t.Errorf("the journal keeps its events under %+v", got)
	}
	harness.Must(t, c.Publish("acme.events.agent.x.state.y", []byte("{}")))
	refusedPublish(t, broken, "acme.events.agent.x.state.y")
	got := e.Run("query", "acme.queries.agent.a1.entries", `{"token":"`+newest.Token+`"}`)
	if got.Code != 0 || !strings.Contains(got.Stdout, `"locked.too"`) {
		t.Errorf("engine query: %+v", got)
	}
	if got := e.Run("replay", "--subject", "acme.events.agent.b1.state.>"); got.Code != 0 || strings.Count(got.Stdout, "\n") != 2 {
		t.Errorf("engine replay: %+v", got)
	}
	if got := e.Run("status"); got.Code != 0 || !strings.Contains(got.Stdout, "hot") {
		t.Errorf("engine status: %+v", got)
	}
	for _, w := range harness.CheckJournal(c.Journal(t)) {
		t.Error(w)
	}
	e.Verify()
}

// TestOverload: beyond limits.in_flight a command is refused with the time to
// wait before a retry.
func TestOverload(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--limits-in-flight", "2"}})
	c := e.Client(t)
	const sent = 200
	answers := make(chan error, sent)
	for n := range sent {
		go func() {
			_, err := c.Set(context.Background(), "busy", "k", n, harness.M{"strategy": "last_write_wins"})
			answers <- err
		}()
	}
	accepted, refused := 0, 0
	for range sent {
		err := <-answers
		switch no := harness.Refused(err); {
		case err == nil:
			accepted++
		case no != nil && no.Status == 429 && no.Kind == "overloaded" && no.Details.RetryAfterMS > 0:
			refused++
		default:
			t.Errorf("under load: %v", err)
		}
	}
	if accepted == 0 || refused == 0 {
		t.Errorf("%d accepted, %d refused with a time to wait", accepted, refused)
	}
	if got := c.MustGet(t, "busy", "k", harness.M{"consistency": "strong"}); got.Version != uint64(accepted) {
		t.Errorf("%d accepted, version %d", accepted, got.Version)
	}
}

// TestRate: a client that sends more than --limits-rate a second is refused with the time
// to wait, at each door, and another client is not.
func TestRate(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--limits-rate", "20"}})
	busy, other := e.Client(t), e.Client(t)
	doors := map[string]func() (code string){
		"command": func() string {
			return answered(busy.Request("commands.agent.a.set", []byte(`{"key":"k","value":1,"strategy":"last_write_wins"}`), harness.Patience))
		},
		"query": func() string {
			return answered(busy.Request("queries.agent.a.get", []byte(`{"key":"k"}`), harness.Patience))
		},
		"enqueue": func() string {
			return answered(busy.Request("enqueue.agent.a.set", []byte(`{"key":"k","value":1}`), harness.Patience))
		},
	}
	for name, ask := range doors {
		harness.Eventually(t, "the refusal of a "+name, func() bool { return ask() == "429" })
		other.MustSet(t, "b", name, 1, nil)
	}
	harness.Eventually(t, "a command after a pause", func() bool { return doors["command"]() == "" })
	e.Verify()
}

// answered is the code of an answer's error.
func answered(m *nats.Msg, err error) string {
	if err != nil {
		return err.Error()
	}
	var ack struct{ Error struct{ Code int } }
	if json.Unmarshal(m.Data, &ack) == nil && ack.Error.Code != 0 {
		return fmt.Sprint(ack.Error.Code)
	}
	return m.Header.Get("Nats-Service-Error-Code")
}

// refusedPublish waits until the server reports that a publish was not allowed.
func refusedPublish(t *testing.T, broken <-chan error, subject string) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		select {
		case err := <-broken:
			if text := strings.ToLower(err.Error()); strings.Contains(text, "permissions violation") && strings.Contains(err.Error(), subject) {
				return
			}
		case <-limit.C:
			t.Errorf("the publish on %s was not refused", subject)
			return
		}
	}
}
