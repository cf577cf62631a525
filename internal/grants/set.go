package grants

import (
	"slices"

	"github.com/tidemark-engine/tidemark/internal/wildcard"
)

// Action is what a request wants to do.
type Action struct {
	Kind      Kind
	Aggregate string // the noun of a query; empty for Admin
	ID        string
	Verb      string // the name of a query; the area for Admin
	Key       string
	AnyKey    bool // the key is not known yet: is there one that is allowed?
}

// grant is the smallest grant that allows a.
func (a Action) grant() Grant {
	g := Grant{Kind: a.Kind, Verbs: []string{a.Verb}}
	if a.Kind != Admin {
		g.Aggregate, g.ID = a.Aggregate, a.ID
		if g.ID == "" {
			g.ID = "*"
		}
		if a.Kind == Watch {
			g.Verbs, g.Key = nil, a.Key
		}
	}
	return g
}

// Verdict is the decision about an action.
type Verdict int

const (
	No       Verdict = iota
	IfHolder         // if the task is assigned to an agent of the principal or to none, or if the owner of the claim is one
	Yes
)

// Set is the grants in force of one principal. A nil Set allows nothing.
type Set struct {
	agents string // pattern of the agents that the principal is; empty = none
	grants []Grant
	all    bool
}

// NewSet returns the set of some grants of a principal that is the agents of a pattern;
// empty = it is no agent.
func NewSet(agents string, all ...Grant) *Set {
	return &Set{agents: agents, grants: slices.Clone(all)}
}

// Unrestricted returns the set that allows everything: that of the engine, of its
// operator, and of an engine without principals.
func Unrestricted() *Set { return &unrestricted }

var unrestricted = Set{agents: "*", all: true}

// Grants are the grants of the set.
func (s *Set) Grants() []Grant {
	if s == nil {
		return nil
	}
	return slices.Clone(s.grants)
}

// Agents is the pattern of the agents that the principal is; empty = it is none.
func (s *Set) Agents() string {
	if s == nil {
		return ""
	}
	return s.agents
}

// Unrestricted reports whether the set allows everything.
func (s *Set) Unrestricted() bool { return s != nil && s.all }

// Holds reports whether the principal may act for a task that is assigned to agent;
// empty = it is assigned to no agent.
func (s *Set) Holds(agent string) bool {
	return s != nil && (s.all || s.agents != "" && (agent == "" || wildcard.Match(s.agents, agent)))
}

// Is reports whether the principal is an agent.
func (s *Set) Is(agent string) bool { return agent != "" && s.Holds(agent) }

// Decide decides about an action; missing is the smallest grant that would allow it.
func (s *Set) Decide(a Action) (v Verdict, missing Grant) {
	if s == nil {
		return No, a.grant()
	}
	if s.all {
		return Yes, Grant{}
	}
	for i := range s.grants {
		switch g := &s.grants[i]; {
		case !g.allows(&a):
		case !g.Holder:
			return Yes, Grant{}
		case s.agents != "":
			v = IfHolder
		}
	}
	return v, a.grant()
}

// Allows reports whether an action is allowed without a condition; missing is the
// smallest grant that would allow it.
func (s *Set) Allows(a Action) (ok bool, missing Grant) {
	v, missing := s.Decide(a)
	return v == Yes, missing
}

func (g *Grant) allows(a *Action) bool {
	if g.Kind != a.Kind || len(g.Verbs) > 0 && !slices.Contains(g.Verbs, a.Verb) {
		return false
	}
	if g.Kind == Admin {
		return slices.Contains(areas, a.Verb)
	}
	if g.Aggregate != "*" && g.Aggregate != a.Aggregate || !wildcard.Match(g.ID, a.ID) {
		return false
	}
	if a.Kind != Watch {
		if _, ok := ScopeOf(a.Kind, a.Aggregate, a.Verb); !ok {
			return false
		}
	}
	switch {
	case g.wholeAgent():
		return true
	case a.AnyKey:
		return true
	}
	return a.Key != "" && wildcard.Match(g.Key, a.Key)
}

// wholeAgent reports whether the grant is for all keys, and so also for what has none.
func (g *Grant) wholeAgent() bool { return g.Key == "" || g.Key == "*" }

// Filter is what a list may show.
type Filter struct {
	All    bool
	IDs    []string // patterns of ids
	Agents []string // patterns of agents whose tasks it may show, and unassigned ones
}

// Empty reports whether the list may show nothing.
func (f Filter) Empty() bool { return !f.All && len(f.IDs) == 0 && len(f.Agents) == 0 }

// Shows reports whether the list may show a row with an id that is assigned to agent.
func (f Filter) Shows(id, agent string) bool {
	return f.ShowsID(id) || slices.ContainsFunc(f.Agents, func(p string) bool { return agent == "" || wildcard.Match(p, agent) })
}

// ShowsID reports whether the list may show a row with an id, whatever agent it is assigned to.
func (f Filter) ShowsID(id string) bool {
	return f.All || slices.ContainsFunc(f.IDs, func(p string) bool { return wildcard.Match(p, id) })
}

// Filter returns what a list may show, by the grants for its query get, for agents lifecycle
// and for views definition: a row says as much.
func (s *Set) Filter(aggregate string) (f Filter) {
	if s == nil || s.all {
		return Filter{All: s != nil}
	}
	verb := "get"
	switch aggregate {
	case "agent":
		verb = "lifecycle"
	case "view":
		verb = "definition"
	}
	for i := range s.grants {
		g := &s.grants[i]
		if g.Kind != Query || g.Aggregate != "*" && g.Aggregate != aggregate || !g.wholeAgent() ||
			len(g.Verbs) > 0 && !slices.Contains(g.Verbs, verb) && (aggregate == "view" || !slices.Contains(g.Verbs, "list")) {
			continue
		}
		switch {
		case g.Holder && s.agents != "":
			f.Agents = append(f.Agents, s.agents)
		case g.Holder:
		case g.ID == "*":
			return Filter{All: true}
		default:
			f.IDs = append(f.IDs, g.ID)
		}
	}
	slices.Sort(f.IDs)
	f.IDs, f.Agents = slices.Compact(f.IDs), slices.Compact(f.Agents)
	return f
}

// Found returns the agents of which a search may show entries: those of which the query
// get may answer some key.
func (s *Set) Found() (f Filter) {
	if s == nil || s.all {
		return Filter{All: s != nil}
	}
	for i := range s.grants {
		g := &s.grants[i]
		if g.Kind != Query || g.Aggregate != "*" && g.Aggregate != "agent" || len(g.Verbs) > 0 && !slices.Contains(g.Verbs, "get") {
			continue
		}
		if g.ID == "*" {
			return Filter{All: true}
		}
		f.IDs = append(f.IDs, g.ID)
	}
	slices.Sort(f.IDs)
	f.IDs = slices.Compact(f.IDs)
	return f
}

// Keys returns the patterns of the keys of one agent that a query may show; all = every
// key.
func (s *Set) Keys(aggregate, id, verb string) (patterns []string, all bool) {
	if s == nil || s.all {
		return nil, s != nil
	}
	a := Action{Kind: Query, Aggregate: aggregate, ID: id, Verb: verb, AnyKey: true}
	for i := range s.grants {
		switch g := &s.grants[i]; {
		case !g.allows(&a):
		case g.wholeAgent():
			return nil, true
		default:
			patterns = append(patterns, g.Key)
		}
	}
	slices.Sort(patterns)
	return slices.Compact(patterns), false
}
