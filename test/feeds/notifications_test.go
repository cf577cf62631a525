package feeds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestNotifications: what SQL has committed is published once, with the value
// before and after; and again where a crash came before the position. A data
// directory of an earlier build goes on where that one was.
func TestNotifications(t *testing.T) {
	t.Parallel()
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
			c.MustDo(t, "agent.a1.delete", harness.M{"key": s.key})
		} else {
			c.MustSet(t, "a1", s.key, s.value, nil)
		}
		c.CaughtUp(t) // one batch each
	}
	want := []string{
		"INSERT k <nil> -> 1 (1)", "UPDATE k 1 -> map[a:b] (2)", "INSERT l <nil> -> x (3)",
		"DELETE k map[a:b] -> <nil> (4)", "INSERT k <nil> -> 2 (5)", "UPDATE l x -> x (6)",
	}
	published(t, c, want)

	// As after a crash between publication and position.
	_, err := c.SQL(t).Exec(t.Context(), `UPDATE agents.checkpoints SET position = 2 WHERE view = 'notifications'`)
	harness.Must(t, err)
	e.Kill()
	e.Restart()
	c = e.Client(t)
	c.MustSet(t, "a1", "m", true, nil)
	c.CaughtUp(t)
	published(t, c, append(want, "INSERT m <nil> -> true (7)")) // the window dropped the repetitions

	js := e.OperatorJetStream(t)
	s, err := js.Stream(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	harness.Must(t, s.Purge(t.Context()))
	cfg := s.CachedInfo().Config
	harness.Must(t, js.DeleteStream(t.Context(), cfg.Name)) // with its duplicate window
	_, err = js.CreateStream(t.Context(), cfg)
	harness.Must(t, err)
	earlier := func(notified string) { // as a build before the view has left it
		t.Helper()
		sql := c.SQL(t)
		_, err := sql.Exec(t.Context(), `UPDATE agents.checkpoints SET notified = `+notified+` WHERE view = 'durable'`)
		harness.Must(t, err)
		_, err = sql.Exec(t.Context(), `DELETE FROM agents.checkpoints WHERE view = 'notifications'`)
		harness.Must(t, err)
	}
	earlier("2")
	e.Kill()
	e.Restart()
	c = e.Client(t)
	c.CaughtUp(t)
	// From the journal, in batches of any size: each key from what it was at
	// revision 2 to what it is.
	chain := map[string][2]string{"k": {"map[a:b]", "2 (5)"}, "l": {"<nil>", "x (6)"}, "m": {"<nil>", "true (7)"}}
	publishedChain(t, c, chain)
	count := len(notifications(t, c))

	earlier("NULL") // all up to the durable view's position
	e.Kill()
	e.Restart()
	c = e.Client(t)
	c.MustSet(t, "a1", "m", false, nil)
	c.CaughtUp(t)
	chain["m"] = [2]string{"<nil>", "false (8)"}
	publishedChain(t, c, chain)
	if all := notifications(t, c); len(all) != count+1 || all[count] != "UPDATE m true -> false (8)" {
		t.Errorf("published\n%s", strings.Join(all, "\n"))
	}
}

// publishedChain waits until the notifications of each key lead from its old value
// to its new one, each beginning where the one before ended.
func publishedChain(t *testing.T, c *harness.Client, want map[string][2]string) {
	t.Helper()
	harness.Within(t, 20*time.Second, "all is published", func() error {
		first, last := map[string]string{}, map[string]string{}
		for _, line := range notifications(t, c) {
			f := strings.Fields(line) // INSERT key old -> new (revision)
			key, old := f[1], f[2]
			if before, seen := last[key]; !seen {
				first[key] = old
			} else if strings.Fields(before)[0] != old {
				return fmt.Errorf("%s does not follow %s", line, before)
			}
			last[key] = strings.Join(f[4:], " ")
		}
		for key, w := range want {
			if first[key] != w[0] || last[key] != w[1] {
				return fmt.Errorf("%s leads from %s to %s, want %v", key, first[key], last[key], w)
			}
		}
		return nil
	})
}

// TestNotificationsAhead: a flush on command writes rows before the view comes to
// them; their changes are published all the same.
func TestNotificationsAhead(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--flush-threshold", "1000", "--flush-interval", "1s"}})
	c := e.Client(t)
	c.MustSet(t, "a1", "k", 1, nil)
	c.CaughtUp(t)
	c.MustSet(t, "a1", "k", 2, nil)
	c.MustSet(t, "a1", "l", 1, nil)
	_, err := c.Command(t.Context(), "commands.agent.a1.flush", harness.NewID(), nil)
	harness.Must(t, err)
	harness.Within(t, 20*time.Second, "both are published", func() error {
		c.CaughtUp(t)
		got := notifications(t, c)
		if len(got) != 3 || !strings.HasPrefix(got[1], "UPDATE k 1 -> 2") || !strings.HasPrefix(got[2], "INSERT l <nil> -> 1") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

func published(t *testing.T, c *harness.Client, want []string) {
	t.Helper()
	harness.Within(t, 20*time.Second, "all is published", func() error {
		if got := notifications(t, c); !slices.Equal(got, want) {
			return fmt.Errorf("\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
}

func notifications(t *testing.T, c *harness.Client) (all []string) {
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
