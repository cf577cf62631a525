package console

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// The pages that are not made of queries ask the grants of the principal themselves: nothing
// is shown or done without them, and the audit knows who did it.
func TestOperationsNeedGrants(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--auth", "on"}})
	creds := map[string]string{}
	for _, p := range [][]string{
		{"alice", "--role", "agent", "--agents", "alice*"}, {"root", "--role", "admin"}, {"olga", "--role", "operator"},
		{"some", "--role", "reader", "--agents", "alice*"}, {"all", "--role", "reader", "--agents", "*"},
	} {
		file := filepath.Join(t.TempDir(), "creds")
		args := append([]string{"auth", "add", p[0], "--out", file, "--data", e.Data}, p[1:]...)
		if r := harness.Run(t, args...); r.Code != 0 {
			t.Fatalf("auth add: %s%s", r.Stdout, r.Stderr)
		}
		text, err := os.ReadFile(file)
		harness.Must(t, err)
		creds[p[0]] = string(text)
	}
	c := e.Client(t, nats.UserCredentialBytes([]byte(creds["root"])))
	for _, agent := range []string{"alice-1", "bob"} {
		c.MustSet(t, agent, "mood", "secret of "+agent, nil)
		if _, err := c.Set(t.Context(), agent, "mood", "lost by "+agent, M{"strategy": "reject"}); harness.Refused(err) == nil {
			t.Fatal(err)
		}
	}
	if _, err := c.JS.Publish(t.Context(), "enqueue.agent.bob.set", []byte(`{"key":"mood"}`)); err != nil {
		t.Fatal(err)
	}
	c.CaughtUp(t)

	all := "/sql?q=" + url.QueryEscape("SELECT state_text FROM state")
	signedIn := func(name string) *browser {
		b := newBrowser(t, e)
		b.signIn(creds[name])
		return b
	}
	for _, name := range []string{"alice", "some"} {
		b := signedIn(name)
		for _, path := range []string{"/dlq", "/topology", "/views", "/sql", all} {
			if p := b.get(path); p.status != http.StatusForbidden || strings.Contains(p.text(), "secret of") {
				t.Errorf("%s gets %s: %d %s", name, path, p.status, p.text())
			}
		}
		p := b.must("/conflicts", "lost by alice-1")
		if strings.Contains(p.text(), "bob") {
			t.Errorf("%s sees conflicts of others", name)
		}
		for _, action := range [][]string{{"dlq.drop", "which", "1"}, {"dlq.retry", "which", "all"}, {"view.rebuild", "view", "hot"}, {"verify", "x", "y"}} {
			p := b.post("/actions/"+action[0], append(action[1:], "command_id", "c1")...)
			if p.status != http.StatusForbidden {
				t.Errorf("%s does %s: %d %s", name, action[0], p.status, p.text())
			}
		}
	}
	if p := signedIn("all").get("/dlq"); p.status != http.StatusForbidden {
		t.Errorf("a reader of everything sees dead letters: %d", p.status)
	}
	signedIn("all").must(all, "secret of bob")

	b := signedIn("olga")
	b.must(all, "secret of bob")
	b.must("/topology", "AGENT_STATE", "Reserved")
	if p := b.must("/views", "durable", "AGENT_MESSAGES is in memory"); !strings.Contains(p.body, `"Rebuild messages"`) || strings.Contains(p.body, `"Rebuild message-feed"`) || strings.Contains(p.body, `"Rebuild notifications"`) {
		t.Errorf("the views that can be rebuilt: %s", p.body)
	}
	harness.Eventually(t, "the dead letter is there", func() bool { return strings.Contains(b.must("/dlq").text(), "enqueue.agent.bob.set") })
	p, _ := b.confirm("dlq.drop", "which", "1")
	if !strings.Contains(p.text(), "1 dead letter of 1 aggregate") || !strings.Contains(p.text(), "engine dlq drop") {
		t.Errorf("the dry run: %s", p.text())
	}
	if p := b.act("dlq.drop", "which", "1"); p.status != http.StatusOK || !strings.Contains(p.text(), "dropped") {
		t.Errorf("drop: %d %s", p.status, p.text())
	}
	if p := b.act("verify"); p.status != http.StatusOK {
		t.Errorf("verify: %d %s", p.status, p.text())
	}
	harness.Eventually(t, "the verification has ended", func() bool { return strings.Contains(b.must("/views").text(), "chains checked") })
	b.must("/views", "equal", "olga")
	sql := c.SQL(t)
	harness.Eventually(t, "the audit knows who it was", func() bool {
		n := 0
		harness.Must(t, sql.QueryRow(t.Context(), `SELECT count(*) FROM agents.audit WHERE actor = 'olga' AND (body LIKE '%"dlq drop"%' OR body LIKE '%"verify"%')`).Scan(&n))
		return n == 2
	})
}

// A statement can read the read model, and nothing else.
func TestSQLOnlyReads(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	c.MustSet(t, "a1", "note", "<script>1</script>", nil)
	c.CaughtUp(t)
	b := newBrowser(t, e)
	run := func(statement string) page { return b.must("/sql?q=" + url.QueryEscape(statement)) }
	if p := run(`SELECT '<script>1</script>' AS a`); strings.Contains(p.body, "<script>1") || !strings.Contains(p.body, "&lt;script&gt;1") {
		t.Error("a value is not escaped")
	}
	many := run(`SELECT n AS number_of FROM generate_series(1, 10000) n`)
	if !strings.Contains(many.text(), "there are more") {
		t.Error("the rows are not bounded")
	}
	if n := strings.Count(many.body, "<td"); n != 500 || !strings.Contains(many.text(), "number_of") {
		t.Errorf("a page with the first rows has %d cells, want 500 below their column", n)
	}
	for statement, refusal := range map[string]string{
		`DELETE FROM state`: "read-only",
		`WITH x AS (INSERT INTO state DEFAULT VALUES RETURNING 1) SELECT * FROM x`: "read-only",
		`SELECT 1; SELECT 2`:                                      "multiple commands",
		`SELECT * FROM audit`:                                     "permission denied",
		`SELECT * FROM outbox`:                                    "permission denied",
		`SELECT * FROM dead_letters`:                              "permission denied",
		`SELECT * FROM pg_authid`:                                 "permission denied",
		`SELECT pg_read_file('/etc/passwd')`:                      "permission denied",
		`SELECT set_config('role', 'tidemark', true)`:             "permission denied",
		`SELECT set_config('transaction_read_only', 'off', true)`: "read-write mode",
		`COPY state TO PROGRAM 'true'`:                            "privileges",
		`CREATE TEMPORARY TABLE x (y int)`:                        "read-only transaction",
		`SELECT repeat('x', 10000000)`:                            "MiB",
		`SELECT pg_sleep(60)`:                                     "statement timeout",
	} {
		if p := run(statement); !strings.Contains(p.text(), refusal) {
			t.Errorf("%s: no %q in %s", statement, refusal, p.text())
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.HTTPURL+"/sql?q=SELECT+41%2B1+AS+answer", nil)
	harness.Must(t, err)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if p := b.do(r); strings.Contains(p.text(), " 42 ") {
		t.Error("a page of another site runs a statement")
	}
}
