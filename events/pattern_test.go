package events

import "testing"

func TestPatternMatches(t *testing.T) {
	for _, c := range []struct {
		pattern Pattern
		name    AggregateName
		want    bool
	}{
		{"", "agent.a1.state.k", true},
		{">", "task.t1", true},
		{"task.t1", "task.t1", true},
		{"task.t1", "task.t10", false},
		{"task.t1.>", "task.t1", false},
		{"task.*", "task.t1", true},
		{"task.*", "task", false},
		{"*.t1", "task.t1", true},
		{"agent.a1.>", "agent.a1.state.mood.now", true},
		{"agent.a1.>", "agent.a11.state.mood", false},
		{"agent.*.state.mood", "agent.a1.state.mood", true},
		{"agent.*.state.mood", "agent.a1.state.mood.now", false},
		{"agent.*.state.*", "agent.a1.lifecycle", false},
		{"agent.a1", "agent.a1.lifecycle", false},
	} {
		if !c.pattern.Valid() {
			t.Errorf("%q is not valid", c.pattern)
		}
		if got := c.pattern.Matches(c.name); got != c.want {
			t.Errorf("%q and %q: %t", c.pattern, c.name, got)
		}
	}
}

func TestPatternValid(t *testing.T) {
	for _, bad := range []Pattern{".", "a.", ".a", "a..b", "a.>.b", ">.a", "a*", "a.b*", "a.>b", "a>", "a b", "a.\tb", "**", "a.\n"} {
		if bad.Valid() {
			t.Errorf("%q is valid", bad)
		}
	}
}

func TestPatternOf(t *testing.T) {
	for pattern, want := range map[Pattern]string{"agent.a1.>": "agent a1", "task.t1": "task t1", "agent.a1.*.k": "agent a1"} {
		if aggregate, id, ok := pattern.Of(); !ok || aggregate+" "+id != want {
			t.Errorf("%q: %q %q %t", pattern, aggregate, id, ok)
		}
	}
	for _, pattern := range []Pattern{"", ">", "agent", "agent.*.state.k", "agent.>", "*.a1"} {
		if _, _, ok := pattern.Of(); ok {
			t.Errorf("%q names one id", pattern)
		}
	}
}

// TestPatternSelects: a pattern that no name can match is known as one.
func TestPatternSelects(t *testing.T) {
	for _, some := range append([]Pattern{
		"", ">", "*.>", "*.t1", "*.*", "agent.>", "agent.a1.>", "agent.*.state.k", "agent.a1.conflict.>", "agent.a1.*", "*.a1.lifecycle",
		"agent.a1.state.k.*.x", "task.t1", "config.a1.k.l", "message.a1.>", "message.a1", "*.*.sent", "require.r1",
	}, Names...) {
		if !some.Selects() {
			t.Errorf("%q selects nothing", some)
		}
	}
	for _, none := range []Pattern{
		"agnet.a1.>", "tasks.>", "tasks.t1", "Agent.a1.>", "agent", "agent.a1", "agent.a1.k", "agent.a1.state", "agent.a1.stat.>", "agent.a1.lifecycle.x",
		"task.t1.>", "task", "config.a1", "message.a1.inbox", "*",
	} {
		if none.Selects() {
			t.Errorf("%q selects a name", none)
		}
	}
}
