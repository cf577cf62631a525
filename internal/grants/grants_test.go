package grants_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/wildcard"
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
		if rows.Agents != "" && !wildcard.Match(rows.Agents, agent) || rows.Keys != "" && !wildcard.Match(rows.Keys, key) {
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
