package grants

import "slices"

// viewed are the aggregates that declared views read, by source.
var viewed = map[string]string{
	"state": "agent", "task": "task", "session": "session", "config": "config", "message": "message", "reminder": "reminder", "claim": "claim",
}

// CoversView reports whether the set may read all that a declared view may show: the rows of
// a source that belong to agents of a pattern, under keys or ids of a pattern; empty = all.
// missing is the smallest grant that would allow it.
func (s *Set) CoversView(source, agents, keys string) (missing Grant, ok bool) {
	return s.coversView(Query, source, agents, keys)
}

// WatchesView is CoversView for the view's bucket.
func (s *Set) WatchesView(source, agents, keys string) bool {
	_, ok := s.coversView(Watch, source, agents, keys)
	return ok
}

func (s *Set) coversView(kind Kind, source, agents, keys string) (missing Grant, ok bool) {
	a := Action{Kind: kind, Aggregate: viewed[source], ID: "*", Verb: "get", Key: "*"}
	if a.Aggregate == "message" {
		a.Verb = "inbox"
	}
	keyed := a.Aggregate == "agent" || a.Aggregate == "config"
	ids := keys
	if keyed {
		ids = agents
		if keys != "" {
			a.Key = keys
		}
	}
	if ids != "" && a.Aggregate != "message" { // a message is in the inbox of another agent than its sender
		a.ID = ids
	}
	if s == nil {
		return a.grant(), false
	}
	if s.all {
		return Grant{}, true
	}
	for i := range s.grants {
		g := &s.grants[i]
		known := kind == Watch || len(g.Verbs) == 0 || slices.Contains(g.Verbs, a.Verb)
		switch {
		case g.Kind != kind || g.Aggregate != "*" && g.Aggregate != a.Aggregate || !known || !covers(g.ID, a.ID):
		case keyed && !g.wholeAgent() && !covers(g.Key, a.Key):
		case g.Holder && (agents == "" || s.agents == "" || !covers(s.agents, agents)):
		default:
			return Grant{}, true
		}
	}
	missing = a.grant()
	if keyed && keys != "" {
		missing.Key = keys
	}
	return missing, false
}
