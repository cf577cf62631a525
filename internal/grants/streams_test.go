package grants_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/grants"
)

// TestStreams: what a gate may show of each stream.
func TestStreams(t *testing.T) {
	set := grants.NewSet("alice-*", parse(t, "watch agent:alice-*", "watch agent:team.mood.*", "watch config:alice-1", "watch message:alice-*", "watch session:s1")...)
	for _, c := range []struct {
		stream, subject string
		want            bool
	}{
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.alice-1.k", true},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.alice-1.>", true},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.alice-1.*", true},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.>", false},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.*.>", false},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.*.k", false},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.bob.k", false},
		{"KV_AGENT_STATE", "$KV.AGENT_CONFIG.alice-1.k", false},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.team.mood.now", true},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.team.mood.>", true},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.team.*", false},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.team.>", false},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE.team.wish", false},
		{"KV_AGENT_STATE", "$KV.AGENT_STATE..k", false},
		{"KV_AGENT_STATE", ">", false},
		{"KV_AGENT_STATE", "", false},
		{"KV_AGENT_CONFIG", "$KV.AGENT_CONFIG.alice-1.k", true},
		{"KV_AGENT_CONFIG", "$KV.AGENT_CONFIG.alice-2.k", false},
		{"KV_SESSION_DATA", "$KV.SESSION_DATA.s1", true},
		{"KV_SESSION_DATA", "$KV.SESSION_DATA.s2", false},
		{"KV_TASK_STATE", "$KV.TASK_STATE.t1", false},
		{"AGENT_STATE", "agents.state.alice-1.k", true},
		{"AGENT_STATE", "agents.state.alice-1", true},
		{"AGENT_STATE", "agents.*.alice-1.k", false},
		{"AGENT_STATE", "agents.lifecycle.alice-1.>", true},
		{"AGENT_STATE", "agents.heartbeat.alice-1", true},
		{"AGENT_STATE", "agents.heartbeat.team", false},
		{"AGENT_STATE", "agents.state.team.mood.x", true},
		{"AGENT_STATE", "agents.state.team", false},
		{"AGENT_STATE", "agents.state.>", false},
		{"AGENT_MESSAGES", "messages.direct.*.alice-1", true},
		{"AGENT_MESSAGES", "messages.direct.alice-1.bob", true},
		{"AGENT_MESSAGES", "messages.direct.bob.>", false},
		{"AGENT_MESSAGES", "messages.direct.bob.carol", false},
		{"AGENT_MESSAGES", "messages.direct.*.*", false},
		{"AGENT_MESSAGES", "messages.broadcast.bob", true},
		{"AGENT_MESSAGES", "messages.*.alice-1.alice-1", false},
		{"TASK_EXECUTION", "tasks.created.t1", false},
		{"EVENTS", "events.agent.alice-1.state.k", false},
		{"OUTCOMES", "outcomes.c1", false},
	} {
		if got := set.Covers(c.stream, c.subject); got != c.want {
			t.Errorf("%s %s: %t", c.stream, c.subject, got)
		}
		if set.All(c.stream) {
			t.Errorf("all of %s", c.stream)
		}
	}
	all := grants.NewSet("", parse(t, "watch *:*")...)
	for stream, want := range map[string]bool{"KV_AGENT_STATE": true, "TASK_EXECUTION": true, "AGENT_MESSAGES": true, "KV_QUERY_CACHE": true, "EVENTS": false, "AUDIT": false} {
		if all.All(stream) != want || all.Covers(stream, ">") != want {
			t.Errorf("%s: %t", stream, !want)
		}
	}
	if keyed := grants.NewSet("", parse(t, "watch agent:*.mood")...); keyed.All("KV_AGENT_STATE") || !keyed.Covers("KV_AGENT_STATE", "$KV.AGENT_STATE.*.mood") {
		t.Error("one key of every agent")
	}
}

func TestFeeds(t *testing.T) {
	for text, want := range map[string]string{
		"watch *:*":           "agents.> messages.> tasks.>",
		"watch agent:alice":   "agents.heartbeat.alice agents.lifecycle.alice.> agents.state.alice agents.state.alice.>",
		"watch agent:alice-*": "",
		"watch agent:alice.k": "",
		"watch message:alice": "messages.broadcast.* messages.direct.*.alice messages.notification.*",
		"watch message:a*":    "messages.broadcast.* messages.notification.*",
		"watch task:t1":       "tasks.*.t1 tasks.*.t1.>",
		"query agent:alice":   "",
		"command agent:* set": "",
		"watch session:alice": "",
	} {
		if got := strings.Join(grants.NewSet("", parse(t, text)...).Feeds(), " "); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// TestRepublishedRowsAreOfNoAgent: the feed repeats rows of every agent where others have the id of
// one, which patterns match too.
func TestRepublishedRowsAreOfNoAgent(t *testing.T) {
	for _, text := range []string{"watch agent:k*", "watch agent:" + domain.ReservedAgent, "watch *:*v", "watch agent:kv.*"} {
		set := grants.NewSet("k*", parse(t, text)...)
		for _, rest := range []string{">", "$KV.>", "$KV.AGENT_STATE.alice.k", "*"} {
			if set.Covers("AGENT_STATE", "agents.state."+domain.ReservedAgent+"."+rest) {
				t.Errorf("%s covers agents.state.%s.%s", text, domain.ReservedAgent, rest)
			}
		}
		if feeds := strings.Join(set.Feeds(), " "); strings.Contains(feeds, "agents.") {
			t.Errorf("%s: %s", text, feeds)
		}
	}
}

func TestLists(t *testing.T) {
	set := grants.NewSet("alice-*", parse(t, "query agent:alice-*", "query agent:team.mood", "query agent:bob get", "query task:* when holder", "query task:own")...)
	f := set.Filter("agent")
	for id, want := range map[string]bool{"alice-1": true, "team": false, "bob": false, "alice": false} {
		if f.Shows(id, "") != want {
			t.Errorf("agents.list shows %s: %t", id, !want)
		}
	}
	f = set.Filter("task")
	for _, c := range []struct {
		id, agent string
		want      bool
	}{{"t", "alice-1", true}, {"t", "", true}, {"t", "bob", false}, {"own", "bob", true}} {
		if f.Shows(c.id, c.agent) != c.want {
			t.Errorf("tasks.list shows %s of %q: %t", c.id, c.agent, !c.want)
		}
	}
	if patterns, all := set.Keys("agent", "team", "entries"); all || !slices.Equal(patterns, []string{"mood"}) {
		t.Errorf("%q, %t", patterns, all)
	}
	if _, all := set.Keys("agent", "alice-1", "entries"); !all {
		t.Error("the keys of a whole agent")
	}
}

// TestMessageEvents: who may read what an agent has marked may read what it has sent; its
// recipients, and who may ask for its inbox alone, may not.
func TestMessageEvents(t *testing.T) {
	for grant, want := range map[string]grants.Verdict{
		"query message:alice-*": grants.Yes, "query message:alice-1 history": grants.Yes, "query events:*": grants.Yes,
		"query message:bob-*": grants.No, "query message:alice-1 inbox": grants.No, "query agent:*": grants.No, "watch message:*": grants.No,
	} {
		if got := grants.NewSet("bob-*", parse(t, grant)...).Event("message", "alice-1", "", false); got != want {
			t.Errorf("%s: %v, want %v", grant, got, want)
		}
	}
}
