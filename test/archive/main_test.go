// Package archive tests export, import and trim through the command line, as an
// operator uses them.
package archive

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// do runs engine archive, which must succeed, and returns its output.
func do(t *testing.T, args ...string) string {
	t.Helper()
	r := harness.Run(t, append([]string{"archive"}, args...)...)
	if r.Code != 0 {
		t.Fatalf("archive %v: exit code %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// refused runs engine archive, which must fail with this reason.
func refused(t *testing.T, why string, args ...string) {
	t.Helper()
	r := harness.Run(t, append([]string{"archive"}, args...)...)
	if r.Code != 1 || !strings.Contains(r.Stderr, why) {
		t.Errorf("archive %v: exit code %d, want 1 and %q\n%s%s", args, r.Code, why, r.Stdout, r.Stderr)
	}
}

// verified runs engine verify, which must find no difference, and returns the
// digest and the number of events.
func verified(t *testing.T, e *harness.Engine) (digest string, events int) {
	t.Helper()
	r := e.Run("verify", "--json")
	var report struct {
		Digest string `json:"digest"`
		Events int    `json:"events"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || r.Code != 0 {
		t.Fatalf("verify: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	return report.Digest, report.Events
}

// live sends commands to every kind of aggregate, with values that an inexact
// copy would change.
func live(t *testing.T, c *harness.Client) {
	t.Helper()
	for i, value := range []string{`1.0`, "{\"b\" :\n\t[1,  2],\r\n\"a\":1e2}", `"\u00e9é\/"`, `{}`, `12345678901234567890.5`} {
		for _, agent := range []string{"a1", "a2", "a3"} {
			c.MustDo(t, "agent."+agent+".set", []byte(`{"key":"mood","strategy":"last_write_wins","value":`+value+`}`))
		}
		c.MustDo(t, "config.a1.set", []byte(`{"key":"limits.max","value":`+value+`}`))
		if i == 2 {
			c.MustDo(t, "agent.a2.delete", M{"key": "mood"})
		}
	}
	c.MustSet(t, "a1", "plan", 1, M{"timestamp": "2026-01-02T00:00:00Z"})
	if r, err := c.Set(t.Context(), "a1", "plan", 2, M{"timestamp": "2026-01-01T00:00:00Z"}); err != nil || r.Outcome != "superseded" {
		t.Fatalf("%+v %v", r, err)
	}
	c.MustDo(t, "task.t1.create", M{"kind": "work", "payload": M{"n": 1}})
	c.MustDo(t, "task.t1.start", M{"agent_id": "a1"})
	c.MustDo(t, "task.t1.complete", M{"result": "done"})
	c.MustDo(t, "session.s1.open", M{"owner": "a1", "ttl": 3600})
	c.MustDo(t, "session.s1.put", M{"key": "k", "value": 1})
}

// answers queries the history that live made.
func answers(t *testing.T, c *harness.Client) map[string]string {
	t.Helper()
	all := map[string]string{}
	for subject, body := range map[string]M{
		"agent.a1.history":      {"key": "mood"},
		"agent.a2.history":      {"key": "mood"},
		"agent.a1.history plan": {"key": "plan", "losers": true},
		"agent.a3.get":          {"key": "mood", "consistency": "strong"},
		"agent.a1.get":          {"key": "mood", "at_revision": 3},
		"config.a1.history":     {"key": "limits.max"},
		"task.t1.history":       {},
		"session.s1.get":        {},
	} {
		name := subject
		subject, _, _ = strings.Cut(subject, " ")
		body, err := c.Query(t.Context(), "queries."+subject, body)
		if err != nil {
			body = []byte(err.Error())
		}
		all[name] = withoutPlace(t, body)
	}
	return all
}

// withoutPlace removes the members of an answer that differ between engines.
func withoutPlace(t *testing.T, body []byte) string {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		return string(body)
	}
	for _, name := range []string{"token", "source", "cursor"} {
		delete(got, name)
	}
	text, err := json.Marshal(got)
	harness.Must(t, err)
	return string(text)
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %s is\n%s, was\n%s", what, name, got[name], want[name])
		}
	}
}

func file(t *testing.T, name string) string { return filepath.Join(harness.TempDir(t), name) }
