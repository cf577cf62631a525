package feeds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestNotices: what SQL has committed is told once, with the value before and
// after; and told again from the journal where a crash left it open.
func TestNotices(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	steps := []struct {
		key   string
		value any // nil = delete
	}{
		{"k", 1}, {"k", harness.M{"a": "b"}}, {"l", "x"}, {"k", nil}, {"k", 2}, {"l", "x"},
	}
	for _, s := range steps {
		if s.value == nil {
			command(t, c, "commands.agent.a1.delete", harness.M{"key": s.key})
		} else {
			c.MustSet(t, "a1", s.key, s.value, nil)
		}
		c.Level(t, 20*time.Second) // a batch each
	}
	want := []string{
		"INSERT k <nil> -> 1 (1)", "UPDATE k 1 -> map[a:b] (2)", "INSERT l <nil> -> x (3)",
		"DELETE k map[a:b] -> <nil> (4)", "INSERT k <nil> -> 2 (5)", "UPDATE l x -> x (6)",
	}
	told(t, c, want)

	// As after a crash between commit and notice.
	_, err := c.SQL(t).Exec(t.Context(), `UPDATE agents.checkpoints SET notified = 2 WHERE view = 'durable'`)
	must(t, err)
	e.Kill()
	e.Restart()
	c = e.Client(t)
	c.MustSet(t, "a1", "m", true, nil)
	c.Level(t, 20*time.Second)
	told(t, c, append(want, "INSERT m <nil> -> true (7)")) // the window dropped the repetitions

	s, err := c.JS.Stream(t.Context(), "AGENT_STATE")
	must(t, err)
	must(t, s.Purge(t.Context()))
	cfg := s.CachedInfo().Config
	must(t, c.JS.DeleteStream(t.Context(), cfg.Name)) // and with it the window
	_, err = c.JS.CreateStream(t.Context(), cfg)
	must(t, err)
	_, err = c.SQL(t).Exec(t.Context(), `UPDATE agents.checkpoints SET notified = 2 WHERE view = 'durable'`)
	must(t, err)
	e.Kill()
	e.Restart()
	c = e.Client(t)
	c.Level(t, 20*time.Second)
	// From the journal, in one batch: each key once, from what it was to what it is.
	told(t, c, []string{"UPDATE k map[a:b] -> 2 (5)", "INSERT l <nil> -> x (6)", "INSERT m <nil> -> true (7)"})
}

// TestNoticesAhead: a flush on command writes rows before the view comes to
// them; the view tells of them all the same.
func TestNoticesAhead(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--flush-threshold", "1000", "--flush-interval", "1s"}})
	c := e.Client(t)
	c.MustSet(t, "a1", "k", 1, nil)
	c.Level(t, 20*time.Second)
	c.MustSet(t, "a1", "k", 2, nil)
	c.MustSet(t, "a1", "l", 1, nil)
	_, err := c.Command(t.Context(), "commands.agent.a1.flush", harness.NewID(), nil)
	must(t, err)
	harness.Within(t, 20*time.Second, "both are told", func() error {
		c.Level(t, 20*time.Second)
		got := notices(t, c)
		if len(got) != 3 || !strings.HasPrefix(got[1], "UPDATE k 1 -> 2") || !strings.HasPrefix(got[2], "INSERT l <nil> -> 1") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

func told(t *testing.T, c *harness.Client, want []string) {
	t.Helper()
	harness.Within(t, 20*time.Second, "all is told", func() error {
		if got := notices(t, c); !slices.Equal(got, want) {
			return fmt.Errorf("\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
}

func notices(t *testing.T, c *harness.Client) (all []string) {
	t.Helper()
	for _, h := range stream(t, c, "AGENT_STATE", "agents.state.a1") {
		b := h.Body
		if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(b["timestamp"])); err != nil || at.IsZero() || b["agent_id"] != "a1" || len(b) != 7 {
			t.Errorf("%s", h.Raw)
		}
		all = append(all, fmt.Sprintf("%v %v %v -> %v (%v)", b["operation"], b["state_key"], b["old_value"], b["new_value"], b["revision"]))
	}
	return all
}
