package grants_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/readmodel/query"
)

func parse(t *testing.T, texts ...string) (all []grants.Grant) {
	t.Helper()
	for _, text := range texts {
		g, err := grants.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"command agent:alice-* set,merge":           "command agent:alice-* merge,set",
		"command task:* claim,complete when holder": "command task:* claim,complete when holder",
		"query agent:team.*":                        "query agent:team.*",
		"  query   agent:team  ":                    "query agent:team",
		"query agent:team.mood.* get,get":           "query agent:team.mood.* get",
		"watch agent:a*b":                           "watch agent:a*b",
		"command *:* *":                             "command *:*",
		"command task:* when holder":                "command task:* when holder",
		"admin rebuild,dlq":                         "admin dlq,rebuild",
		"admin *":                                   "admin *",
	} {
		g, err := grants.Parse(text)
		if err != nil || g.String() != want {
			t.Errorf("%q is %q, %v", text, g, err)
		}
	}
	for text, want := range map[string]struct {
		at  int // from 1
		why string
	}{
		"":                             {1, "empty"},
		"grant agent:x":                {1, "command, query, watch or admin"},
		"command":                      {8, "target"},
		"command agent":                {9, "AGGREGATE:ID"},
		"command bird:x":               {9, "bird"},
		"command agent:":               {15, "pattern of ids"},
		"command agent:a b>":           {17, "no verb"},
		"command agent:a>":             {15, "pattern of ids"},
		"command agent:é":              {15, "pattern of ids"},
		"command agent:a fly":          {17, "fly"},
		"command agent:a set,fly":      {21, "fly"},
		"command agent:a set,":         {21, "no verb"},
		"query agent:a set":            {15, "no query"},
		"command agent:a..b":           {17, "pattern of keys"},
		"command agent:a.":             {17, "pattern of keys"},
		"command task:a.b":             {16, "no keys"},
		"watch agent:a get":            {15, "no verbs"},
		"command agent:a when held":    {17, "when holder"},
		"command agent:a when":         {17, "when holder"},
		"command agent:a set holder":   {21, "not expected"},
		"command agent:a when holder":  {17, "only commands and queries of tasks"},
		"command task:a when holder x": {28, "not expected"},
		"admin":                        {6, "needs"},
		"admin fly":                    {7, "fly"},
		"admin dlq,fly":                {11, "fly"},
		"command agent:" + strings.Repeat("a", 129): {15, "128"},
		strings.Repeat("a", 2000):                   {1025, "1024"},
	} {
		_, err := grants.Parse(text)
		var syntax *grants.SyntaxError
		if !errors.As(err, &syntax) || syntax.At+1 != want.at || !strings.Contains(err.Error(), want.why) {
			t.Errorf("%.40q: %v, want %q at %d", text, err, want.why, want.at)
		}
	}
}

// TestEveryRequestHasOneRule: a new verb or query is refused to every principal, and
// this test fails, until it has a rule.
func TestEveryRequestHasOneRule(t *testing.T) {
	for _, name := range commands.Verbs() {
		aggregate, verb, _ := strings.Cut(name, ".")
		if _, ok := grants.ScopeOf(grants.Command, aggregate, verb); !ok {
			t.Errorf("the command %s has no rule in internal/grants/rules.go", name)
		}
	}
	for _, name := range query.Names() {
		noun, verb := grants.QueryName(name)
		if _, ok := grants.ScopeOf(grants.Query, noun, verb); !ok {
			t.Errorf("the query %s has no rule in internal/grants/rules.go", name)
		}
	}
}

// actions are all commands and queries of the program on one thing, and all areas.
func actions(id, key string) (all []grants.Action) {
	for _, name := range commands.Verbs() {
		aggregate, verb, _ := strings.Cut(name, ".")
		all = append(all, grants.Action{Kind: grants.Command, Aggregate: aggregate, ID: id, Verb: verb, Key: key})
	}
	for _, name := range query.Names() {
		noun, verb := grants.QueryName(name)
		all = append(all, grants.Action{Kind: grants.Query, Aggregate: noun, ID: id, Verb: verb, Key: key})
	}
	for _, area := range []string{"archive", "auth", "dlq", "rebuild", "status", "topology", "verify"} {
		all = append(all, grants.Action{Kind: grants.Admin, Verb: area})
	}
	return all
}

func TestDefaultDeny(t *testing.T) {
	for _, set := range []*grants.Set{nil, grants.NewSet("*"), grants.NewSet("")} {
		for _, a := range actions("alice", "k") {
			if v, missing := set.Decide(a); v != grants.No || missing.Kind != a.Kind {
				t.Errorf("%+v: %v, %s", a, v, missing)
			}
		}
		for _, stream := range []string{"EVENTS", "AGENT_STATE", "KV_AGENT_STATE", "AGENT_MESSAGES", "KV_QUERY_CACHE", "OUTCOMES", "AUDIT", "X"} {
			if set.All(stream) || set.Covers(stream, ">") || set.Covers(stream, "agents.state.a.k") {
				t.Errorf("%s can be read", stream)
			}
		}
		if set.Holds("") || set.Filter("agent").All {
			if set != nil && set.Agents() == "*" {
				continue
			}
			t.Error("it holds the unassigned tasks")
		}
	}
}

// TestMissingGrantSuffices: the grant that a refusal names is enough for the request, and
// it is for nothing else.
func TestMissingGrantSuffices(t *testing.T) {
	for _, a := range actions("alice", "k") {
		_, missing := grants.NewSet("").Decide(a)
		again, err := grants.Parse(missing.String())
		if err != nil {
			t.Errorf("%s: %v", missing, err)
			continue
		}
		set := grants.NewSet("", again)
		if ok, _ := set.Allows(a); !ok {
			t.Errorf("%s does not suffice for %+v", missing, a)
		}
		for _, other := range actions("bob", "k") {
			if ok, _ := set.Allows(other); ok && other.Kind != grants.Admin && missing.ID != "*" {
				t.Errorf("%s allows %+v", missing, other)
			}
		}
	}
}

func TestRoles(t *testing.T) {
	set := func(role, agents string) *grants.Set {
		all, err := grants.Of(role, agents)
		if err != nil {
			t.Fatal(err)
		}
		return grants.NewSet(agents, all...)
	}
	agent, worker, reader := set("agent", "alice-*"), set("worker", "alice-*"), set("reader", "alice-*")
	everything, operator, admin := set("reader", "*"), set("operator", "*"), set("admin", "*")
	for _, c := range []struct {
		text string // "command agent.alice-1.set k"
		// agent, worker, reader, reader of all, operator, admin: y, n, h (if holder)
		want string
	}{
		{"command agent.alice-1.set k", "ynnnny"},
		{"command agent.bob.set k", "nnnnny"},
		{"command agent.alice-1.fork", "ynnnny"},
		{"command agent.alice-1.erase", "nnnnny"},
		{"command agent.alice-1.heartbeat", "yynnny"},
		{"command agent.bob.expire", "nnnnyy"},
		{"command config.alice-1.set k", "ynnnny"},
		{"command message.alice-1.direct", "ynnnny"},
		{"command message.bob.direct", "nnnnny"},
		{"command message.alice-1.read", "ynnnny"},
		{"command message.bob.read", "nnnnny"},
		{"command session.alice-1.open", "ynnnny"},
		{"command task.t1.create", "nnnnny"},
		{"command task.t1.start", "hhnnny"},
		{"command task.t1.complete", "hhnnny"},
		{"command task.t1.cancel", "nnnnyy"},
		{"query agent.alice-1.get k", "ynyyyy"},
		{"query agent.bob.get k", "nnnyyy"},
		{"query agent.alice.get k", "nnnyyy"},
		{"query message.bob.inbox", "nnnyyy"},
		{"query message.bob.history", "nnnyyy"},
		{"query message.alice-1.inbox", "ynyyyy"},
		{"query task.t1.get", "hhhyyy"},
		{"query session.bob.get", "nnnyyy"},
		{"command claim.c1.acquire", "hhnnny"},
		{"command claim.c1.release", "hhnnyy"},
		{"query claim.c1.get", "hhhyyy"},
		{"query claim.c1.history", "hhhyyy"},
		{"command reminder.alice-1.set", "ynnnny"},
		{"command reminder.alice-1.cancel", "ynnnyy"},
		{"command reminder.bob.set", "nnnnny"},
		{"query reminder.alice-1.history", "ynyyyy"},
		{"query reminder.bob.get", "nnnyyy"},
		{"command view.v.define", "nnnnyy"},
		{"command view.v.remove", "nnnnyy"},
		{"query view.v.get", "ynyyyy"},
		{"query view.v.definition", "nnnyyy"},
		{"query view.v.history", "nnnyyy"},
		{"admin .x.rebuild", "nnnnyy"},
		{"admin .x.auth", "nnnnny"},
	} {
		kind, rest, _ := strings.Cut(c.text, " ")
		path, key, _ := strings.Cut(rest, " ")
		part := strings.Split(path, ".")
		a := grants.Action{Kind: grants.Kind(kind), Aggregate: part[0], ID: part[1], Verb: part[2], Key: key}
		got := ""
		for _, s := range []*grants.Set{agent, worker, reader, everything, operator, admin} {
			v, _ := s.Decide(a)
			got += []string{"n", "h", "y"}[v]
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
	}
	if !agent.Holds("alice-1") || !agent.Holds("") || agent.Holds("bob") || !agent.Is("alice-1") || agent.Is("") {
		t.Error("the agents of a role")
	}
	if _, err := grants.Of("king", "*"); err == nil {
		t.Error("an unknown role")
	}
	if _, err := grants.Of("agent", "a.b"); err == nil {
		t.Error("a pattern of two tokens")
	}
}

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

// TestShows: who may read all rows that a view may have may read each of them.
func TestShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var texts []string
		for range rapid.IntRange(1, 3).Draw(t, "grants") {
			aggregate := rapid.SampledFrom([]string{"agent", "config", "task", "claim", "session", "*"}).Draw(t, "aggregate")
			text := "query " + aggregate + ":" + pattern(t)
			switch aggregate {
			case "agent", "config":
				if rapid.Bool().Draw(t, "keyed") {
					text += "." + pattern(t)
				}
			case "task", "claim":
				if rapid.Bool().Draw(t, "held") {
					text += " when holder"
				}
			}
			texts = append(texts, text)
		}
		var all []grants.Grant
		for _, text := range texts {
			g, err := grants.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, g)
		}
		set := grants.NewSet(pattern(t), all...)
		rows := grants.Rows{From: rapid.SampledFrom([]string{"state", "config", "task", "claim", "session", "message"}).Draw(t, "from")}
		if rapid.Bool().Draw(t, "agents") {
			rows.Agents = pattern(t)
		}
		if rapid.Bool().Draw(t, "keys") {
			rows.Keys = pattern(t)
		}
		ok, missing := set.Shows(rows)
		if !ok {
			if more, _ := grants.NewSet("", append(all, missing)...).Shows(rows); !more {
				t.Fatalf("%+v is not shown with the missing %s", rows, missing)
			}
			return
		}
		agent, key := name(t, "agent"), name(t, "key")
		if rows.Agents != "" && !grants.Matches(rows.Agents, agent) || rows.Keys != "" && !grants.Matches(rows.Keys, key) {
			return
		}
		a := grants.Action{Kind: grants.Query, Aggregate: rows.From, ID: key, Verb: "get"}
		switch rows.From {
		case "state":
			a.Aggregate, a.ID, a.Key = "agent", agent, key
		case "config":
			a.ID, a.Key = agent, key
		case "message":
			a.ID, a.Verb = agent, "history"
		}
		if v, missing := set.Decide(a); v == grants.No || v == grants.IfHolder && !set.Holds(agent) {
			t.Fatalf("%v shows %+v, but not the row of %s under %s: %s", texts, rows, agent, key, missing)
		}
	})
	all := grants.Rows{From: "state", Agents: "shop-*", Keys: "order.*"}
	for text, want := range map[string]bool{
		"query agent:shop-*": true, "query agent:shop-*.order.*": true, "query agent:shop-*.*": true, "query *:* get": true, "query agent:*.o*": true,
		"query agent:shop-1": false, "query agent:shop-*.order.1": false, "query agent:shop-* entries": false, "watch agent:*": false, "query config:*": false,
	} {
		if ok, missing := grants.NewSet("", parse(t, text)...).Shows(all); ok != want || !ok && missing.String() != "query agent:shop-* get" {
			t.Errorf("%s: %t, missing %s", text, ok, missing)
		}
	}
	for from, want := range map[string]string{"reminder": "query reminder:order.* get", "message": "query message:shop-* history", "session": "query session:order.* get"} {
		all.From = from
		if ok, missing := (*grants.Set)(nil).Shows(all); ok || missing.String() != want {
			t.Errorf("%s: missing %s, want %s", from, missing, want)
		}
	}
	if ok, _ := grants.Unrestricted().Shows(all); !ok {
		t.Error("the operator is refused")
	}
	views := grants.NewSet("", parse(t, "query view:a get,list", "query view:b* definition")...).Filter("view")
	if views.ShowsID("a") || !views.ShowsID("b1") {
		t.Errorf("views.list shows %+v", views)
	}
}

// name draws ids that often match pattern's parts.
func name(t *rapid.T, label string) string {
	return rapid.StringOfN(rapid.SampledFrom([]rune("ab-")), 1, 5, -1).Draw(t, label)
}

func pattern(t *rapid.T) string {
	return rapid.StringOfN(rapid.SampledFrom([]rune("ab-**")), 1, 5, -1).Draw(t, "pattern")
}

// TestMatchesIsAGlob compares with a definition by recursion.
func TestMatchesIsAGlob(t *testing.T) {
	var glob func(p, s string) bool
	glob = func(p, s string) bool {
		switch {
		case p == "":
			return s == ""
		case p[0] == '*':
			return glob(p[1:], s) || s != "" && glob(p, s[1:])
		}
		return s != "" && p[0] == s[0] && glob(p[1:], s[1:])
	}
	rapid.Check(t, func(t *rapid.T) {
		p, s := pattern(t), name(t, "text")
		if grants.Matches(p, s) != glob(p, s) {
			t.Fatalf("%q and %q: %t", p, s, grants.Matches(p, s))
		}
	})
}

// draw draws a grant.
func draw(t *rapid.T) grants.Grant {
	kind := rapid.SampledFrom([]string{"command", "query", "watch"}).Draw(t, "kind")
	aggregate := rapid.SampledFrom([]string{"agent", "task", "session", "config", "claim", "*"}).Draw(t, "aggregate")
	text := kind + " " + aggregate + ":" + pattern(t)
	if (aggregate == "agent" || aggregate == "config") && rapid.Bool().Draw(t, "keyed") {
		text += "." + pattern(t)
	}
	if (aggregate == "task" || aggregate == "claim") && kind != "watch" && rapid.Bool().Draw(t, "holder") {
		text += " when holder"
	}
	g, err := grants.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGrantsOnlyAdd: a grant more never takes a right away, and the sum of two sets allows
// what one of them does and nothing else.
func TestGrantsOnlyAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := draw(t), draw(t)
		a := rapid.SampledFrom(actions(name(t, "id"), name(t, "key"))).Draw(t, "action")
		first, _ := grants.NewSet("a*", one).Decide(a)
		second, _ := grants.NewSet("a*", two).Decide(a)
		both, _ := grants.NewSet("a*", one, two).Decide(a)
		if both != max(first, second) {
			t.Fatalf("%s, %s: %v; %v and %v", one, two, both, first, second)
		}
		back, err := grants.Parse(one.String())
		if err != nil || back.String() != one.String() {
			t.Fatalf("%s is read as %s, %v", one, back, err)
		}
	})
}

// TestCoversOnlyWhatIsGranted: when a wildcard subject is covered, each subject that it
// matches is.
func TestCoversOnlyWhatIsGranted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := grants.NewSet("a*", draw(t), draw(t))
		id, key := name(t, "id"), name(t, "key")
		filter := "$KV.AGENT_STATE." + rapid.SampledFrom([]string{id, "*"}).Draw(t, "token") + "." + rapid.SampledFrom([]string{key, "*", ">", key + ".>"}).Draw(t, "rest")
		if !set.Covers("KV_AGENT_STATE", filter) {
			return
		}
		for _, one := range []string{key, key + ".x"} {
			subject := "$KV.AGENT_STATE." + id + "." + one
			if subjectMatches(filter, subject) && !set.Covers("KV_AGENT_STATE", subject) {
				t.Fatalf("%q covers %s and not %s", set.Grants(), filter, subject)
			}
		}
	})
}

func subjectMatches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i := range f {
		if f[i] == ">" {
			return len(s) > i
		}
		if i >= len(s) || f[i] != "*" && f[i] != s[i] {
			return false
		}
	}
	return len(f) == len(s)
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
