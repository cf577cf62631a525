package console

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

const hostile = `</pre><script>alert(1)</script><img src=x onerror=alert(1)>"'&`

// The pages and actions of a console in development mode.
func TestDevelopment(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--search"}})
	c := e.Client(t)
	b := newBrowser(t, e)
	t.Run("empty", func(t *testing.T) { b.on(t).must("/agents", "There are no agents yet", "engine send") })
	t.Run("actions", func(t *testing.T) { actions(t, b.on(t), c) })
	t.Run("past", func(t *testing.T) { past(t, b.on(t), c) })
	t.Run("hostile values", func(t *testing.T) { hostileValues(t, b.on(t), c) })
	t.Run("tabs", func(t *testing.T) { agentTabs(t, b.on(t), c) })
	t.Run("search", func(t *testing.T) { search(t, b.on(t), c) })
	t.Run("pages of a list", func(t *testing.T) { pages(t, b.on(t), c) })
	t.Run("export", func(t *testing.T) { export(t, b.on(t), c) })
	t.Run("live", func(t *testing.T) { liveAgent(t, b.on(t), c) })
	t.Run("forged forms", func(t *testing.T) { forged(t, e, b.on(t), c) })
	t.Run("headers", func(t *testing.T) { headers(t, b.on(t)) })
	t.Run("from a proxy", func(t *testing.T) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.HTTPURL+"/", nil)
		harness.Must(t, err)
		r.Header.Set("X-Forwarded-For", "192.0.2.1")
		if p := newBrowser(t, e).do(r); p.status != http.StatusForbidden || strings.Contains(p.body, "Commands") {
			t.Errorf("%d %s", p.status, p.text())
		}
	})
	t.Run("overview", func(t *testing.T) { b.on(t).must("/", "ready", "durable", "hot", "PostgreSQL", "Lag of the views") })
}

// on is the same browser in another test.
func (b *browser) on(t *testing.T) *browser {
	c := *b
	c.t = t
	return &c
}

// Each action asks once, shows the command line, takes effect once, and shows what the wire
// has answered.
func actions(t *testing.T, b *browser, c *harness.Client) {
	b.must("/agents/a1")
	form := []string{"agent", "a1", "key", "mood", "value", "{\"is\":\"curious\",\r\n\"n\":1.50}"}
	asked, id := b.confirm("agent.set", form...)
	if !strings.Contains(asked.text(), `engine send`) || !strings.Contains(asked.text(), `commands.agent.a1.set '{"key":"mood","value":{"is":"curious","n":1.50}}' --id `+id) {
		t.Errorf("no command line in %s", asked.text())
	}
	if _, err := c.Get(t.Context(), "a1", "mood", nil); err == nil {
		t.Fatal("it was done without a confirmation")
	}
	for i, replayed := range []string{`"replayed": false`, `"replayed": true`} {
		if p := b.post("/actions/agent.set", append(form, "command_id", id)...); p.status != 200 || !strings.Contains(p.text(), replayed) {
			t.Errorf("attempt %d: %d %s", i, p.status, p.text())
		}
	}
	if got := c.MustGet(t, "a1", "mood", nil); got.Version != 1 || string(got.Value) != `{"is":"curious","n":1.50}` {
		t.Errorf("%+v", got)
	}
	b.act("agent.set", "agent", "a1", "key", "mood", "value", `"sure"`, "expected_version", "1")
	if p := b.act("agent.set", "agent", "a1", "key", "mood", "value", `"late"`, "expected_version", "1"); p.status != http.StatusConflict || !strings.Contains(p.text(), "state.conflict") {
		t.Errorf("a version that is over: %d %s", p.status, p.text())
	}
	if p := b.post("/actions/agent.set", "agent", "a1", "key", "mood", "value", `sure`); p.status != http.StatusBadRequest || !strings.Contains(p.text(), "not JSON") {
		t.Errorf("no JSON: %d %s", p.status, p.text())
	}
	b.act("agent.revert", "agent", "a1", "key", "mood", "version", "1")
	if got := c.MustGet(t, "a1", "mood", nil); got.Version != 3 || string(got.Value) != `{"is":"curious","n":1.50}` {
		t.Errorf("reverted to %+v", got)
	}
	if p := b.act("agent.fork", "from", "a1", "agent", "a2", "revision", "1"); p.status != 200 {
		t.Errorf("fork: %d %s", p.status, p.text())
	}
	if got := c.MustGet(t, "a2", "mood", nil); string(got.Value) != `{"is":"curious","n":1.50}` {
		t.Errorf("forked %+v", got)
	}
	b.act("agent.delete", "agent", "a1", "key", "mood")
	b.must("/agents/a1", "no entry")
	asked, _ = b.confirm("agent.revert", "agent", "a1", "revision", "1")
	if !strings.Contains(asked.text(), "takes back 1 change") {
		t.Errorf("no dry run in %s", asked.text())
	}
	if p := b.act("agent.revert", "agent", "a1", "revision", "1"); !strings.Contains(p.text(), `"keys": 1`) {
		t.Errorf("revert: %d %s", p.status, p.text())
	}
	if p := b.post("/actions/agent.vanish", "agent", "a1"); p.status != http.StatusNotFound {
		t.Errorf("no action: %d", p.status)
	}
}

// The past of an agent: then and now, the event between them, losing writes.
func past(t *testing.T, b *browser, c *harness.Client) {
	first := c.MustSet(t, "past", "plan", "one", nil)
	second := c.MustSet(t, "past", "plan", "two", nil)
	_, err := c.Set(t.Context(), "past", "plan", "late", M{"timestamp": "2020-01-01T00:00:00Z", "writer": "late-worker"})
	harness.Must(t, err)
	c.MustSet(t, "past", "more", 1, nil)
	p := b.must(fmt.Sprint("/agents/past?revision=", second.Revision), "this event", "1 added since, 0 changed, 0 removed, 1 the same")
	if !regexp.MustCompile(`data-key="back"[^>]*href="/agents/past\?revision=\d+"`).MatchString(p.body) {
		t.Error("no way back to the event before")
	}
	b.must(fmt.Sprint("/agents/past?revision=", first.Revision), `"one"`, `"two"`, "~ the value", "1 added since, 1 changed")
	b.must("/agents/past?key=plan", "late-worker", "superseded", "lost against version 2", "Revert to here")
	b.must("/agents/past?time=2020-01-01T00:00", "did not exist")
	b.must("/agents/past?revision=none", "none is not a revision")
	p = b.must(fmt.Sprint("/events/", second.Revision), "events.agent.past.state.plan", "match", second.CommandID, "engine query")
	if !strings.Contains(p.body, fmt.Sprintf(`/events/%d"`, first.Revision)) {
		t.Error("no event before it")
	}
	if p := b.get("/events/1000000"); p.status != http.StatusNotFound {
		t.Errorf("no such event: %d", p.status)
	}
	if p := b.get("/events/x"); p.status != http.StatusNotFound {
		t.Errorf("no revision: %d", p.status)
	}
}

// Values, texts and ids of agents are text, whatever they hold.
func hostileValues(t *testing.T, b *browser, c *harness.Client) {
	c.MustSet(t, "evil", "k", hostile, M{"writer": hostile})
	set := c.MustSet(t, "evil", "lines", "a\n"+hostile, nil)
	c.MustDo(t, "task.evil.create", M{"kind": "k", "agent_id": "evil", "payload": hostile})
	c.MustDo(t, "message.evil.direct", M{"to": "evil", "body": hostile})
	c.MustDo(t, "config.evil.set", M{"key": "c", "value": hostile})
	in := url.QueryEscape(hostile)
	for _, path := range []string{
		"/agents/evil", "/agents/evil?key=k", "/agents/evil?key=" + in, "/agents/evil?revision=1", "/agents/evil?revision=" + in, "/agents/evil?time=" + in,
		"/agents/evil?tab=timeline", "/agents/evil?tab=timeline&from=" + in, "/agents/evil?tab=tasks", "/agents/evil?tab=messages", "/agents/evil?tab=config", "/agents/evil?tab=" + in,
		"/agents?prefix=" + in, "/agents?phase=" + in, "/agents?text=" + in, "/agents?contains=" + in, "/agents?cursor=" + in, "/agents/" + url.PathEscape(hostile),
		fmt.Sprint("/events/", set.Revision), "/events/" + url.PathEscape(hostile), "/" + url.PathEscape(hostile), "/signin?to=" + in,
	} {
		p := b.get(path)
		if strings.Contains(p.body, "<script>alert") || strings.Contains(p.body, "<img") {
			t.Errorf("%s: it is in the page as it is", path)
		}
	}
	p, _ := b.confirm("agent.set", "agent", hostile, "key", hostile, "value", `"`+strings.ReplaceAll(hostile, `"`, `\"`)+`"`)
	if strings.Contains(p.body, "<script>alert") || strings.Contains(p.body, "<img") {
		t.Error("a confirmation has it as it is")
	}
	if p := b.act("agent.set", "agent", hostile, "key", "k", "value", "1"); p.status != http.StatusBadRequest || strings.Contains(p.body, "<script>alert") {
		t.Errorf("an id that is none: %d %s", p.status, p.text())
	}
}

func agentTabs(t *testing.T, b *browser, c *harness.Client) {
	c.MustDo(t, "task.t1.create", M{"kind": "review", "agent_id": "tabs"})
	c.MustDo(t, "config.tabs.set", M{"key": "model", "value": "large"})
	c.MustDo(t, "message.other.direct", M{"to": "tabs", "body": M{"text": "hello"}})
	b.must("/agents/tabs?tab=tasks", "t1", "review", "created")
	b.must("/agents/tabs?tab=config", "model", `"large"`)
	b.must("/agents/tabs?tab=messages", "other", `{"text":"hello"}`, "1 unread")
	b.must("/agents/tabs?tab=timeline", "task.created", "config.set")
	if p := b.get("/agents/tabs?tab=none"); p.status != http.StatusNotFound {
		t.Errorf("no such tab: %d", p.status)
	}
	if p := b.get("/agents/a.b"); p.status != http.StatusBadRequest || !strings.Contains(p.text(), "id.invalid") {
		t.Errorf("no id: %d", p.status)
	}
}

func search(t *testing.T, b *browser, c *harness.Client) {
	c.MustSet(t, "shop", "order", M{"city": "Oslo", "note": "call before the delivery"}, nil)
	b.must("/agents?text=delivery", "shop", "order", "Oslo")
	b.must("/agents?contains="+url.QueryEscape(`{"city":"Oslo"}`), "shop")
	b.must("/agents?contains="+url.QueryEscape(`{"city":"Rome"}`), "No entry has that")
	if p := b.get("/agents?contains=Oslo"); p.status != http.StatusBadRequest {
		t.Errorf("no JSON: %d", p.status)
	}
}

// A list is never longer than a page, and the cursor leads through all of it.
func pages(t *testing.T, b *browser, c *harness.Client) {
	for i := range 7 {
		c.MustSet(t, fmt.Sprint("many-", i), "k", i, nil)
	}
	path, seen := "/agents?prefix=many-&limit=3", 0
	for path != "" {
		p := b.must(path)
		if n := strings.Count(p.body, `<tr id="agent-many-`); n > 3 {
			t.Errorf("%d rows", n)
		} else {
			seen += n
		}
		_, next, _ := strings.Cut(p.body, `rel="next" href="`)
		path, _, _ = strings.Cut(next, `"`)
		path = strings.ReplaceAll(path, "&amp;", "&")
	}
	if seen != 7 {
		t.Errorf("%d agents", seen)
	}
}

func export(t *testing.T, b *browser, c *harness.Client) {
	for i := range 12 {
		c.MustSet(t, "exported", "k", i, nil)
	}
	p := b.must("/agents/exported/timeline.jsonl")
	lines := bytes.Split(bytes.TrimSpace([]byte(p.body)), []byte("\n"))
	if len(lines) < 12 || p.header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d lines of %s", len(lines), p.header.Get("Content-Type"))
	}
	last := uint64(1 << 62)
	for _, line := range lines {
		var event struct {
			Revision uint64 `json:"revision"`
			Digest   string `json:"digest"`
		}
		if err := json.Unmarshal(line, &event); err != nil || event.Revision >= last || event.Digest == "" {
			t.Errorf("%s: %v", line, err)
		}
		last = event.Revision
	}
}

// A page follows a change that another client makes.
func liveAgent(t *testing.T, b *browser, c *harness.Client) {
	c.MustSet(t, "live", "k", "before", nil)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.base+"/agents/live", nil)
	harness.Must(t, err)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := b.client.Do(r)
	harness.Must(t, err)
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatal(got)
	}
	written := false
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		switch {
		case strings.Contains(lines.Text(), "&#34;after&#34;"):
			return
		case !written && strings.Contains(lines.Text(), "&#34;before&#34;"):
			c.MustSet(t, "live", "k", "after", nil)
			written = true
		}
	}
	t.Errorf("the stream ended: %v", lines.Err())
}

// A form without the token of the browser's session changes nothing.
func forged(t *testing.T, e *harness.Engine, b *browser, c *harness.Client) {
	b.must("/agents/forged")
	mine := b.csrf
	other := newBrowser(t, e)
	other.must("/agents/forged")
	form := []string{"agent", "forged", "key", "k", "value", "1", "command_id", harness.NewID()}
	for _, token := range []string{"", "x", other.csrf} {
		b.csrf = token
		if p := b.post("/actions/agent.set", form...); p.status != http.StatusForbidden {
			t.Errorf("token %q: %d", token, p.status)
		}
	}
	none := newBrowser(t, e)
	none.csrf = mine
	if p := none.post("/actions/agent.set", form...); p.status != http.StatusForbidden {
		t.Errorf("no cookie: %d", p.status)
	}
	b.csrf = mine
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.base+"/actions/agent.set", strings.NewReader("csrf="+url.QueryEscape(mine)+"&agent=forged&key=k&value=1&command_id=x1"))
	harness.Must(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "http://evil.example")
	if p := b.do(r); p.status != http.StatusForbidden {
		t.Errorf("from another site: %d", p.status)
	}
	if _, err := c.Get(t.Context(), "forged", "k", nil); err == nil {
		t.Error("a forged form took effect")
	}
}

func headers(t *testing.T, b *browser) {
	for _, path := range []string{"/", "/agents", "/help", "/none", "/assets/console.css", "/assets/console.js", "/signin"} {
		p := b.get(path)
		policy := p.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %q", path, policy)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
			if got := p.header.Get(name); got != want {
				t.Errorf("%s: %s %q", path, name, got)
			}
		}
		if strings.Contains(p.body, " style=") || strings.Contains(p.body, "<style") || strings.Contains(p.body, "<script>") {
			t.Errorf("%s has what its policy forbids", path)
		}
		if store := p.header.Get("Cache-Control"); !strings.HasPrefix(path, "/assets/") && store != "no-store" {
			t.Errorf("%s: %s", path, store)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if got := b.get(path).header.Get("Content-Security-Policy"); got != "default-src 'none'; frame-ancestors 'none'" {
			t.Errorf("%s: %q", path, got)
		}
	}
}
