package grants

import "testing"

func TestReads(t *testing.T) {
	for _, c := range []struct{ stream, subject, want string }{
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.alice.mood", "watch agent:alice.mood"},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.alice.team.>", "watch agent:alice.team.*"},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.alice.>", "watch agent:alice"},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.*.mood", "watch agent:*.mood"},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.>", "watch agent:*"},
		{"KV_AGENT_STATE", "", "watch agent:*"},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.a b.$", "watch agent:*"},
		{"KV_AGENT_CONFIG", "$KV.AGENT_CONFIG.a1.k", "watch config:a1.k"},
		{"KV_TASK_STATE", "$KV.TASK_STATE.t1", "watch task:t1"},
		{"AGENT_STATE", "agents.lifecycle.a1.flushed", "watch agent:a1"},
		{"AGENT_STATE", "agents.state.a1.k", "watch agent:a1.k"},
		{"TASK_EXECUTION", "tasks.*.t1.>", "watch task:t1"},
		{"AGENT_MESSAGES", "messages.direct.a1.a2", "watch message:a1"},
		{"AGENT_MESSAGES", "messages.broadcast.>", "watch message:*"},
		{"KV_QUERY_CACHE", "$KV.QUERY_CACHE.x", "watch *:*"},
		{"EVENTS", "events.>", ""}, {"NONE", "x", ""}, {"KV_VIEW_v", "", ""},
	} {
		got := Reads(c.stream, c.subject)
		if got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.subject, c.stream, got, c.want)
		}
		if got == "" || c.stream == "KV_QUERY_CACHE" || c.subject == "$KV.AGENT_STATE.a b.$" {
			continue
		}
		g, err := Parse(got)
		if err != nil {
			t.Error(err)
		} else if !NewSet("", g).Covers(c.stream, c.subject) && c.subject != "" {
			t.Errorf("%q does not cover %s of %s", got, c.subject, c.stream)
		}
	}
}
