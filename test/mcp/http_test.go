package mcp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// bearer sends the credentials of a principal with each request.
type bearer struct {
	credentials []byte
	http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if b.credentials != nil {
		r.Header.Set("Authorization", "Bearer "+base64.StdEncoding.EncodeToString(b.credentials))
	}
	return b.RoundTripper.RoundTrip(r)
}

// dial connects to /mcp with the parameters of query.
func dial(t *testing.T, e *harness.Engine, protocol, query string, credentials []byte) *session {
	t.Helper()
	transport := &http.Transport{}
	s := &session{t: t, updated: make(chan string, 100)}
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { s.updated <- r.Params.URI },
	})
	var err error
	s.ClientSession, err = client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: e.HTTPURL + "/mcp" + query, HTTPClient: &http.Client{Transport: bearer{credentials, transport}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: protocol})
	harness.Must(t, err)
	t.Cleanup(func() {
		_ = s.Close() // ends a stream that the engine may have ended already
		transport.CloseIdleConnections()
	})
	return s
}

// post sends a request as it is, and returns its answer.
func post(t *testing.T, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	harness.Must(t, err)
	r.Close = true
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(r)
	harness.Must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	harness.Must(t, err)
	return resp, string(text)
}

const listTools = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

// Without --auth on, clients of this machine are served as development mode serves them.
func TestHTTP(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	url := e.HTTPURL + "/mcp"
	t.Run("two clients append", func(t *testing.T) {
		one, two := dial(t, e, "", "", nil), dial(t, e, "2025-11-25", "?agent=shared", nil)
		var wg sync.WaitGroup
		for i, s := range []*session{one, two} {
			wg.Go(func() {
				for n := range 20 {
					s.must("state_append", M{"agent": "shared", "key": "list", "items": []string{fmt.Sprint(i, "-", n)}})
				}
			})
		}
		wg.Wait()
		var items []string
		harness.Must(t, json.Unmarshal(one.must("state_get", M{"agent": "shared", "key": "list"})["value"], &items))
		slices.Sort(items)
		if len(slices.Compact(items)) != 40 {
			t.Errorf("%d items, want 40", len(items))
		}
	})
	t.Run("confined", func(t *testing.T) {
		s := dial(t, e, "", "?agent=mine", nil)
		s.must("state_set", M{"key": "k", "value": 1})
		s.refused("state_set", M{"agent": "other", "key": "k", "value": 1}, "agent.confined")
		reading := dial(t, e, "2025-06-18", "?read_only=1&agent=mine", nil)
		for tool, err := range reading.Tools(t.Context(), nil) {
			harness.Must(t, err)
			if !tool.Annotations.ReadOnlyHint {
				t.Errorf("%s writes", tool.Name)
			}
		}
		reading.must("state_get", M{"key": "k", "agent": "mine"})
		if _, err := reading.CallTool(t.Context(), &mcp.CallToolParams{Name: "state_set", Arguments: M{"key": "k", "value": 2}}); err == nil {
			t.Error("state_set is served")
		}
	})
	for _, protocol := range []string{"2026-07-28", "2025-11-25", "2025-06-18"} {
		t.Run("subscriptions of "+protocol, func(t *testing.T) { subscriptions(t, e, protocol) })
	}
	t.Run("sessions", func(t *testing.T) { sessionsOverHTTP(t, url) })
	t.Run("wrong requests", func(t *testing.T) {
		for name, c := range map[string]struct {
			url, body string
			header    []string
			code      int
		}{
			"an unknown parameter":    {url + "?agnet=a", listTools, nil, 400},
			"a parameter twice":       {url + "?agent=a&agent=b", listTools, nil, 400},
			"an empty agent":          {url + "?agent=", listTools, nil, 400},
			"no JSON":                 {url, `{"jsonrpc"`, nil, 400},
			"no message":              {url, `[]`, nil, 400},
			"an empty body":           {url, ``, nil, 400},
			"a large body":            {url, strings.Repeat(" ", 3<<20), nil, 413},
			"an unknown method":       {url, `{"jsonrpc":"2.0","id":1,"method":"nothing"}`, nil, 400},
			"an unknown protocol":     {url, listTools, []string{"Mcp-Protocol-Version", "1999-01-01"}, 400},
			"another host":            {url, listTools, []string{"Host", "evil.example.org"}, 421},
			"another site":            {url, listTools, []string{"Origin", "http://evil.example.org"}, 403},
			"over a proxy":            {url, listTools, []string{"X-Forwarded-For", "192.0.2.1"}, 403},
			"an address of elsewhere": {url, listTools, []string{"Host", "192.0.2.1"}, 403},
			"no credentials in it":    {url, listTools, []string{"Authorization", "Bearer " + base64.StdEncoding.EncodeToString([]byte("alice"))}, 401},
			"another scheme":          {url, listTools, []string{"Authorization", "Basic YTpi"}, 401},
			"a subscription without a session": {url, `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"tidemark://agent/a/k"}}`,
				[]string{"Mcp-Protocol-Version", "2025-11-25"}, 200},
		} {
			resp, text := post(t, c.url, c.body, c.header...)
			if resp.StatusCode != c.code || c.code == 200 && !strings.Contains(text, `"error"`) {
				t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, text, c.code)
			}
		}
		resp, err := http.Get(url)
		harness.Must(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET: %d", resp.StatusCode)
		}
		if resp, text := post(t, url, listTools); resp.StatusCode != 200 || !strings.Contains(text, "state_set") {
			t.Errorf("after them: %d %s", resp.StatusCode, text)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var done, overloaded atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 200 {
			wg.Go(func() {
				<-start
				resp, text := post(t, url, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"task_next","arguments":{"agent":"w","wait_ms":3000}}}`, i))
				switch {
				case resp.StatusCode == 200 && strings.Contains(text, "task.none"):
					done.Add(1)
				case resp.StatusCode == 200 && strings.Contains(text, `"isError":true`) && strings.Contains(text, `"status":429`):
					overloaded.Add(1)
				default:
					t.Errorf("call %d: %d %s", i, resp.StatusCode, text)
				}
			})
		}
		close(start)
		wg.Wait()
		if done.Load() < maxCalls || overloaded.Load() == 0 {
			t.Errorf("%d done, %d overloaded", done.Load(), overloaded.Load())
		}
		if code, body := e.Ready(); code != 200 {
			t.Errorf("then /readyz is %d %s", code, body)
		}
	})
	t.Run("the public client", func(t *testing.T) {
		cmd := exec.Command("node", "http.mjs", url)
		cmd.Dir = harness.NodeModules(t, "node", "http.mjs")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "done") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// subscriptions checks that an update reaches who has subscribed.
func subscriptions(t *testing.T, e *harness.Engine, protocol string) {
	s, other := dial(t, e, protocol, "", nil), dial(t, e, protocol, "", nil)
	uri := "tidemark://agent/watched/plan/" + protocol
	harness.Must(t, s.Subscribe(t.Context(), &mcp.SubscribeParams{URI: uri}))
	harness.Must(t, other.Subscribe(t.Context(), &mcp.SubscribeParams{URI: uri + "-other"}))
	harness.Eventually(t, "an update comes", func() error {
		other.must("state_set", M{"agent": "watched", "key": "plan/" + protocol, "value": time.Now().String()})
		select {
		case got := <-s.updated:
			if got != uri {
				t.Errorf("the update is of %s", got)
			}
			return nil
		case <-time.After(time.Second):
			return fmt.Errorf("no update")
		}
	})
	select {
	case got := <-other.updated:
		t.Errorf("who has not subscribed to it gets %s", got)
	default:
	}
}

const (
	initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	subscribe  = `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"tidemark://agent/a/k"}}`
)

// beginSession returns the headers of a request in a new session.
func beginSession(t *testing.T, url string, header ...string) []string {
	t.Helper()
	resp, text := post(t, url, initialize, header...)
	id := resp.Header.Get("Mcp-Session-Id")
	if resp.StatusCode != 200 || id == "" || !strings.Contains(text, `"subscribe":true`) {
		t.Fatalf("initialize: %d %q %s", resp.StatusCode, id, text)
	}
	header = append(header, "Mcp-Session-Id", id, "Mcp-Protocol-Version", "2025-11-25")
	if resp, text := post(t, url, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, header...); resp.StatusCode != 202 {
		t.Fatalf("initialized: %d %s", resp.StatusCode, text)
	}
	return header
}

// sessionsOverHTTP checks that a session that this engine does not know costs an older client
// its subscriptions and nothing else, and that sessions are bounded.
func sessionsOverHTTP(t *testing.T, url string) {
	header := beginSession(t, url)
	if resp, text := post(t, url, subscribe, header...); resp.StatusCode != 200 || strings.Contains(text, `"error"`) {
		t.Errorf("subscribe: %d %s", resp.StatusCode, text)
	}
	do := func(method string) int {
		r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		harness.Must(t, err)
		r.Close = true
		r.Header.Set("Accept", "text/event-stream")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		harness.Must(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	if code := do(http.MethodDelete); code != 204 {
		t.Errorf("DELETE: %d", code)
	}
	for _, method := range []string{http.MethodDelete, http.MethodGet} {
		if code := do(method); code != 404 {
			t.Errorf("%s of a session that has ended: %d", method, code)
		}
	}
	if resp, text := post(t, url, subscribe, header...); resp.StatusCode != 404 {
		t.Errorf("subscribe in a session that has ended: %d %s", resp.StatusCode, text)
	}
	if resp, text := post(t, url, listTools, header...); resp.StatusCode != 200 || !strings.Contains(text, "state_set") {
		t.Errorf("another request in it: %d %s", resp.StatusCode, text)
	}
	first := beginSession(t, url)
	for range 40 {
		header = beginSession(t, url)
	}
	if resp, text := post(t, url, subscribe, first...); resp.StatusCode != 404 {
		t.Errorf("the oldest session of too many: %d %s", resp.StatusCode, text)
	}
	if resp, text := post(t, url, subscribe, header...); resp.StatusCode != 200 || strings.Contains(text, `"error"`) {
		t.Errorf("the newest one: %d %s", resp.StatusCode, text)
	}
}

// With --auth on a request has the rights of the principal whose credentials it carries.
func TestHTTPWithPrincipals(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--auth", "on", "--postgres", "off"}})
	url := e.HTTPURL + "/mcp"
	add := func(name string) []byte {
		file := filepath.Join(t.TempDir(), name+".creds")
		if r := harness.Run(t, "auth", "add", "--data", e.Data, name, "--role", "agent", "--agents", name+"*", "--out", file); r.Code != 0 {
			t.Fatalf("auth add: %s%s", r.Stdout, r.Stderr)
		}
		text, err := os.ReadFile(file)
		harness.Must(t, err)
		return text
	}
	alice, bob := add("alice"), add("bob")
	a, b := dial(t, e, "", "", alice), dial(t, e, "2026-07-28", "", bob)
	a.must("state_set", M{"agent": "alice-1", "key": "k", "value": 1})
	a.refused("state_set", M{"agent": "bob-1", "key": "k", "value": 1}, "forbidden")
	b.must("state_set", M{"agent": "bob-1", "key": "k", "value": 1})
	b.refused("state_get", M{"agent": "alice-1", "key": "k"}, "forbidden")
	if why := a.must("why", M{"agent": "alice-1", "key": "k"}); !strings.Contains(string(why["entry"]), `"actor":"alice"`) {
		t.Errorf("the actor is not alice: %s", why["entry"])
	}
	own, others := "tidemark://agent/bob-1/k", "tidemark://agent/alice-1/k"
	for _, uri := range []string{others, own} { // the client says nothing of a refusal
		harness.Must(t, b.Subscribe(t.Context(), &mcp.SubscribeParams{URI: uri}))
	}
	harness.Eventually(t, "an update of bob's entry comes", func() error {
		a.must("state_set", M{"agent": "alice-1", "key": "k", "value": time.Now().String()})
		b.must("state_set", M{"agent": "bob-1", "key": "k", "value": time.Now().String()})
		select {
		case got := <-b.updated:
			if got != own {
				t.Errorf("bob gets an update of %s", got)
			}
			return nil
		case <-time.After(time.Second):
			return fmt.Errorf("no update")
		}
	})

	head, _, _ := strings.Cut(string(alice), "-----BEGIN USER NKEY SEED-----")
	_, bobs, _ := strings.Cut(string(bob), "-----BEGIN USER NKEY SEED-----")
	for name, text := range map[string]string{
		"none": "", "no file": "alice", "without its seed": head, "with another's seed": head + "-----BEGIN USER NKEY SEED-----" + bobs,
	} {
		header := []string{"Authorization", "Bearer " + base64.RawURLEncoding.EncodeToString([]byte(text))}
		if text == "" {
			header = nil
		}
		if resp, body := post(t, url, listTools, header...); resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("credentials %s: %d %s", name, resp.StatusCode, body)
		}
	}
	right := []string{"Authorization", "Bearer " + base64.RawURLEncoding.EncodeToString(alice)}
	if resp, body := post(t, url, listTools, right...); resp.StatusCode != 200 {
		t.Errorf("the right credentials: %d %s", resp.StatusCode, body)
	}
	session := beginSession(t, url, right...)
	if resp, body := post(t, url, strings.Replace(subscribe, "/a/k", "/alice-1/k", 1), session...); resp.StatusCode != 200 || strings.Contains(body, `"error"`) {
		t.Errorf("alice subscribes in her session: %d %s", resp.StatusCode, body)
	}
	if resp, body := post(t, url, strings.Replace(subscribe, "/a/k", "/bob-1/k", 1), session...); !strings.Contains(body, "forbidden") && !strings.Contains(body, "may not") {
		t.Errorf("alice subscribes to bob's entry: %d %s", resp.StatusCode, body)
	}
	session[1] = "Bearer " + base64.RawURLEncoding.EncodeToString(bob)
	if resp, body := post(t, url, strings.Replace(subscribe, "/a/k", "/bob-1/k", 1), session...); resp.StatusCode != 404 {
		t.Errorf("bob in alice's session: %d %s", resp.StatusCode, body)
	}
	if r := harness.Run(t, "auth", "revoke", "--data", e.Data, "alice"); r.Code != 0 {
		t.Fatalf("auth revoke: %s%s", r.Stdout, r.Stderr)
	}
	harness.Eventually(t, "revoked credentials are refused", func() error {
		if resp, body := post(t, url, listTools, right...); resp.StatusCode != 401 {
			return fmt.Errorf("%d %s", resp.StatusCode, body)
		}
		return nil
	})
	b.must("state_get", M{"agent": "bob-1", "key": "k"})
}
