// Package mcp tests `engine mcp` as processes that real clients of the Model Context
// Protocol start.
package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// session is a client with a server process of its own.
type session struct {
	*mcp.ClientSession
	t       *testing.T
	updated chan string // URIs of resources
}

func start(t *testing.T, e *harness.Engine, protocol string, flags ...string) *session {
	t.Helper()
	s := &session{t: t, updated: make(chan string, 100)}
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { s.updated <- r.Params.URI },
	})
	cmd := exec.Command(harness.Binary(t), append([]string{"mcp", "--data", e.Data}, flags...)...)
	var err error
	s.ClientSession, err = client.Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: protocol})
	harness.Must(t, err)
	t.Cleanup(func() { harness.Must(t, s.Close()) })
	return s
}

// call calls a tool and returns what it answers.
func (s *session) call(tool string, arguments M) (out map[string]json.RawMessage, isError bool) {
	s.t.Helper()
	r, err := s.CallTool(s.t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		s.t.Errorf("%s: %v", tool, err)
		return nil, true
	}
	harness.Must(s.t, json.Unmarshal([]byte(r.Content[0].(*mcp.TextContent).Text), &out))
	return out, r.IsError
}

func (s *session) must(tool string, arguments M) map[string]json.RawMessage {
	s.t.Helper()
	out, isError := s.call(tool, arguments)
	if isError {
		s.t.Fatalf("%s %v: %s", tool, arguments, out["error"])
	}
	return out
}

// refused calls a tool that must be refused with this code.
func (s *session) refused(tool string, arguments M, code string) map[string]json.RawMessage {
	s.t.Helper()
	out, isError := s.call(tool, arguments)
	if !isError || !strings.Contains(string(out["error"]), `"code":"`+code+`"`) {
		s.t.Errorf("%s %v: %s, want %s", tool, arguments, out, code)
	}
	return out
}

func TestTools(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--search", "doc."}})
	t.Run("two servers append", func(t *testing.T) {
		one, two := start(t, e, ""), start(t, e, "2025-11-25")
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
	t.Run("memory", func(t *testing.T) {
		s := start(t, e, "")
		const exact = `{"n":12345678901234567890.12345678901,"s":"é"}`
		first := s.must("state_set", M{"agent": "m", "key": "doc.a", "value": json.RawMessage(exact)})
		if got := string(s.must("state_get", M{"agent": "m", "key": "doc.a"})["value"]); got != exact {
			t.Errorf("the value is %s, want %s", got, exact)
		}
		out := s.refused("state_set", M{"agent": "m", "key": "doc.a", "value": 1, "expected_version": 7}, "state.conflict")
		if !strings.Contains(string(out["current"]), `"version":1`) || !strings.Contains(string(out["current"]), "12345678901234567890") {
			t.Errorf("the conflict shows %s", out["current"])
		}
		s.must("state_merge", M{"agent": "m", "key": "doc.a", "value": M{"s": nil}})
		if found := s.must("state_find", M{"key_prefix": "doc.", "contains": M{"n": json.RawMessage("12345678901234567890.12345678901")}}); !strings.Contains(string(found["entries"]), `"m"`) {
			t.Errorf("found %s", found["entries"])
		}
		if why := s.must("why", M{"agent": "m", "key": "doc.a"}); !strings.Contains(string(why["event"]), `"version":2`) {
			t.Errorf("why: %s", why)
		}
		s.must("state_diff", M{"agent": "m", "from": 0})
		s.must("state_revert", M{"agent": "m", "key": "doc.a", "to_revision": first["revision"]})
		if versions := s.must("state_history", M{"agent": "m", "key": "doc.a"}); strings.Count(string(versions["versions"]), `"recorded_at"`) != 3 {
			t.Errorf("the history is %s", versions["versions"])
		}
		s.must("agent_fork", M{"agent": "m2", "from": "m"})
		s.must("message_send", M{"agent": "m", "to": "m2", "body": "hello"})
		s.must("message_send", M{"agent": "m", "body": "hello all"})
		if in := s.must("inbox", M{"agent": "m2"}); strings.Count(string(in["messages"]), "hello") != 2 {
			t.Errorf("the inbox is %s", in["messages"])
		}
		s.must("remind", M{"reminder": "r1", "cron": "0 9 * * *", "command": M{"subject": "agent.m.set", "body": M{"key": "k", "value": 1}}})
	})
	t.Run("why after more losing writes than it shows", func(t *testing.T) {
		s := start(t, e, "")
		s.refused("state_set", M{"agent": "why", "key": "k", "value": 0, "expected_version": 9}, "state.conflict")
		if why := s.must("why", M{"agent": "why", "key": "k"}); string(why["entry"]) != "null" || strings.Count(string(why["losers"]), `"rejected"`) != 1 {
			t.Errorf("of an entry that never existed: %s", why)
		}
		s.must("state_set", M{"agent": "why", "key": "k", "value": "it"})
		for i := range 60 {
			s.refused("state_set", M{"agent": "why", "key": "k", "value": i, "expected_version": 9}, "state.conflict")
		}
		why := s.must("why", M{"agent": "why", "key": "k"})
		if !strings.Contains(string(why["entry"]), `"it"`) || !strings.Contains(string(why["event"]), `"it"`) || strings.Count(string(why["losers"]), `"rejected"`) != 50 {
			t.Errorf("entry %s, event %s, losers %s", why["entry"], why["event"], why["losers"])
		}
		var cursor string
		harness.Must(t, json.Unmarshal(why["cursor"], &cursor))
		if more := s.must("state_history", M{"agent": "why", "key": "k", "losers": true, "cursor": cursor}); strings.Count(string(more["versions"]), `"rejected"`) != 11 {
			t.Errorf("the others are %s", more["versions"])
		}
	})
	t.Run("tasks", func(t *testing.T) {
		s := start(t, e, "")
		s.refused("task_next", M{"agent": "w"}, "task.none")
		for _, id := range []string{"t1", "t2"} {
			s.must("task_create", M{"task": id, "kind": "k", "payload": M{"n": 1}})
		}
		next := s.must("task_next", M{"agent": "w"})
		s.must("task_complete", M{"task": "t1", "agent": "w", "fence": next["fence"], "result": 1})
		next = s.must("task_next", M{"agent": "w", "kind": "k", "wait_ms": 1000})
		s.refused("task_fail", M{"task": "t2", "agent": "other", "fence": next["fence"], "reason": "no"}, "task.fenced")
		s.must("task_fail", M{"task": "t2", "agent": "w", "fence": next["fence"], "reason": "no"})
	})
	t.Run("wrong arguments", func(t *testing.T) {
		s := start(t, e, "")
		for _, arguments := range []M{
			{}, {"agent": "a"}, {"agent": 1, "key": "k"}, {"agent": "a", "key": nil}, {"agent": "a", "key": "k", "colour": 1},
			{"agent": "a", "key": "k", "at_revision": "x"},
		} {
			s.refused("state_get", arguments, "arguments.invalid")
		}
		s.refused("state_get", M{"agent": "a b", "key": "k"}, "id.invalid")
		s.refused("state_get", M{"agent": "a", "key": "none"}, "state.not_found")
		s.refused("state_set", M{"agent": "a", "key": "k", "value": strings.Repeat("x", 300<<10)}, "value.too_large")
		if _, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "no_tool"}); err == nil {
			t.Error("an unknown tool is no error")
		}
		s.must("state_set", M{"agent": "a", "key": "k", "value": nil})
	})
	t.Run("confined", func(t *testing.T) {
		s := start(t, e, "", "--agent", "mine")
		s.must("state_set", M{"key": "k", "value": 1})
		s.must("state_set", M{"agent": "mine", "key": "k", "value": 2})
		s.must("state_get", M{"agent": "m", "key": "doc.a"})
		s.refused("state_set", M{"agent": "m", "key": "k", "value": 1}, "agent.confined")
		s.refused("state_revert", M{"agent": "m", "to_revision": 1}, "agent.confined")
		s.refused("agent_fork", M{"agent": "other", "from": "mine"}, "agent.confined")
		s.refused("message_send", M{"agent": "m", "body": 1}, "agent.confined")
		s.refused("task_next", M{"agent": "m"}, "agent.confined")
		s.refused("remind", M{"at": "2099-01-01T00:00:00Z", "command": M{"subject": "agent.m.set", "body": M{"key": "k", "value": 1}}}, "agent.confined")
		s.must("remind", M{"at": "2099-01-01T00:00:00Z", "command": M{"subject": "agent.mine.set", "body": M{"key": "k", "value": 1}}})
	})
	t.Run("read only", func(t *testing.T) {
		s := start(t, e, "", "--read-only")
		for tool, err := range s.Tools(t.Context(), nil) {
			harness.Must(t, err)
			if !tool.Annotations.ReadOnlyHint {
				t.Errorf("%s writes", tool.Name)
			}
		}
		if _, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "state_set", Arguments: M{"agent": "a", "key": "k", "value": 1}}); err == nil {
			t.Error("state_set is served")
		}
	})
	t.Run("many at once", func(t *testing.T) {
		s := start(t, e, "")
		var done, overloaded atomic.Int64
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				out, isError := s.call("state_set", M{"agent": "many", "key": fmt.Sprint("k", i), "value": i})
				switch {
				case !isError:
					done.Add(1)
				case strings.Contains(string(out["error"]), `"status":429`):
					overloaded.Add(1)
				default:
					t.Errorf("call %d: %s", i, out["error"])
				}
			})
		}
		wg.Wait()
		if done.Load()+overloaded.Load() != 200 || done.Load() < maxCalls {
			t.Errorf("%d done, %d overloaded", done.Load(), overloaded.Load())
		}
	})
}

// maxCalls is how many calls a server runs at once; that many are done at least.
const maxCalls = 32

func TestResources(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	for _, protocol := range []string{"2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(protocol, func(t *testing.T) {
			s, other := start(t, e, protocol), start(t, e, protocol)
			uri := "tidemark://agent/watched/plans/" + protocol
			if _, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri}); err == nil {
				t.Error("an entry that does not exist is read")
			}
			harness.Must(t, s.Subscribe(t.Context(), &mcp.SubscribeParams{URI: uri}))
			harness.Must(t, other.Subscribe(t.Context(), &mcp.SubscribeParams{URI: uri + "-other"}))
			// A subscription begins somewhat after its answer: the first change may come before.
			harness.Eventually(t, "an update comes", func() error {
				c.MustSet(t, "watched", "plans/"+protocol, time.Now().String(), nil)
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
			r, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
			harness.Must(t, err)
			if !strings.Contains(r.Contents[0].Text, `"version"`) {
				t.Errorf("the resource is %s", r.Contents[0].Text)
			}
			if protocol >= "2026" && r.CacheScope != "private" {
				t.Errorf("a cache may give it to others: %q", r.CacheScope)
			}
			harness.Must(t, s.Unsubscribe(t.Context(), &mcp.UnsubscribeParams{URI: uri}))
			select {
			case got := <-other.updated:
				t.Errorf("a session that has not subscribed to it gets %s", got)
			default:
			}
		})
	}
}

// A line that is no message does not end the server, and the end of its input does.
func TestMalformedLines(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	cmd := exec.Command(harness.Binary(t), "mcp", "--data", e.Data)
	cmd.Stdin = strings.NewReader(strings.Join([]string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"state_get","arguments":[1]}}`,
		`not JSON`, `{"jsonrpc":"2.0"`, `[]`, ``,
		`{"jsonrpc":"2.0","id":3,"method":"nothing"}`,
		`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"state_set","arguments":{"agent":"a","key":"k","value":1}}}`,
	}, "\n") + "\n")
	out, err := cmd.Output()
	harness.Must(t, err)
	for id := 1; id <= 4; id++ {
		if !strings.Contains(string(out), fmt.Sprintf(`"id":%d`, id)) {
			t.Errorf("request %d has no answer:\n%s", id, out)
		}
	}
}

func TestPublicClient(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	cmd := exec.Command("node", "session.mjs", harness.Binary(t), e.Data)
	cmd.Dir = harness.NodeModules(t, "node", "session.mjs")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "done") {
		t.Errorf("%v\n%s", err, out)
	}
}
