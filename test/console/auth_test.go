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

// With --auth on people sign in, and see and do what their principal may.
func TestPrincipals(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--auth", "on"}})
	files := map[string]string{}
	for name, role := range map[string]string{"alice": "agent", "root": "admin"} {
		files[name] = filepath.Join(t.TempDir(), name+".creds")
		add := []string{"auth", "add", name, "--role", role, "--out", files[name], "--data", e.Data}
		if role == "agent" {
			add = append(add, "--agents", name+"*")
		}
		if r := harness.Run(t, add...); r.Code != 0 {
			t.Fatalf("auth add: %s%s", r.Stdout, r.Stderr)
		}
	}
	creds := func(name string) string {
		text, err := os.ReadFile(files[name])
		harness.Must(t, err)
		return string(text)
	}
	c := e.Client(t, nats.UserCredentials(files["root"]))
	secret := c.MustSet(t, "bob", "secret", "of bob", nil)
	c.MustSet(t, "alice-1", "mood", "curious", nil)

	t.Run("without credentials", func(t *testing.T) {
		b := newBrowser(t, e)
		for _, path := range []string{"/", "/agents", "/agents/bob", "/events/1", "/agents/bob/timeline.jsonl", "/help"} {
			if p := b.get(path); p.status != http.StatusSeeOther || p.header.Get("Location") != "/signin?to="+url.QueryEscape(path) {
				t.Errorf("%s: %d to %s", path, p.status, p.header.Get("Location"))
			}
		}
		b.must("/signin", "credentials file")
		if p := b.post("/actions/agent.set", "agent", "bob", "key", "secret", "value", "1", "command_id", "x1"); p.status != http.StatusSeeOther {
			t.Errorf("an action: %d", p.status)
		}
	})

	t.Run("wrong credentials", func(t *testing.T) {
		b := newBrowser(t, e)
		b.must("/signin")
		token := b.csrf
		b.csrf = "x"
		if p := b.post("/signin", "credentials", creds("root")); p.status != http.StatusForbidden {
			t.Errorf("a forged form: %d", p.status)
		}
		b.csrf = token
		at := strings.Index(creds("alice"), "eyJ") + 90 // in the claims, which are signed
		foreign := creds("alice")[:at] + "A" + creds("alice")[at+2:]
		limited := false
		for range 20 {
			p := b.post("/signin", "credentials", foreign)
			if strings.Contains(p.body, foreign[30:60]) {
				t.Fatal("the page shows what was pasted")
			}
			if limited = p.status == http.StatusTooManyRequests; limited {
				break
			}
			if p.status != http.StatusForbidden {
				t.Fatalf("%d %s", p.status, p.text())
			}
		}
		if !limited {
			t.Error("sign-ins may fail without end")
		}
	})

	// The limit holds for the machine: the engine is started again, which ends sessions too.
	e.Stop()
	e.Restart()

	t.Run("alice", func(t *testing.T) {
		b := newBrowser(t, e)
		b.signIn(creds("alice"))
		b.must("/", "alice", "admin status")
		p := b.must("/agents", "alice-1")
		if strings.Contains(p.text(), "bob") {
			t.Error("she sees the agents of others")
		}
		if strings.Contains(b.must("/").body, "Lag of the views") {
			t.Error("she sees the engine")
		}
		for _, path := range []string{"/agents/bob", "/agents/bob?key=secret", "/agents/bob?tab=timeline", "/agents/bob/timeline.jsonl"} {
			if p := b.get(path); p.status != http.StatusForbidden || strings.Contains(p.text(), "of bob") {
				t.Errorf("%s: %d %s", path, p.status, p.text())
			}
		}
		if p := b.get("/events/" + itoa(secret.Revision)); p.status == http.StatusOK || strings.Contains(p.text(), "of bob") {
			t.Errorf("an event of bob: %d", p.status)
		}
		if p := b.act("agent.set", "agent", "bob", "key", "secret", "value", "1"); p.status != http.StatusForbidden || !strings.Contains(p.text(), "command agent:bob set") {
			t.Errorf("a write to bob: %d %s", p.status, p.text())
		}
		b.act("agent.set", "agent", "alice-1", "key", "mood", "value", `"sure"`)
		b.must("/agents/alice-1?key=mood", `"sure"`, "by alice")

		cookie := b.set
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || len(cookie.Value) < 43 {
			t.Errorf("%+v", cookie)
		}
		old := newBrowser(t, e) // with a copy of the cookie
		old.client.Jar.SetCookies(b.url(), []*http.Cookie{{Name: cookie.Name, Value: cookie.Value}})
		old.must("/agents", "alice-1")
		if p := b.post("/signout"); p.status != http.StatusSeeOther {
			t.Errorf("sign-out: %d", p.status)
		}
		if p := old.get("/agents"); p.status != http.StatusSeeOther {
			t.Errorf("a cookie after the sign-out: %d", p.status)
		}
	})

	t.Run("root", func(t *testing.T) {
		b := newBrowser(t, e)
		b.signIn(creds("root"))
		b.must("/", "Lag of the views", "root")
		b.must("/agents/bob", "of bob")
	})

	t.Run("a revoked principal", func(t *testing.T) {
		b := newBrowser(t, e)
		b.signIn(creds("alice"))
		b.must("/agents", "alice-1")
		if r := harness.Run(t, "auth", "revoke", "alice", "--data", e.Data); r.Code != 0 {
			t.Fatalf("auth revoke: %s%s", r.Stdout, r.Stderr)
		}
		harness.Eventually(t, "the session ends", func() bool { return b.get("/agents").status == http.StatusSeeOther })
	})
	if log := e.Log(); strings.Contains(log, creds("root")[60:120]) || strings.Contains(log, "SUA") {
		t.Error("the log has credentials")
	}
}
