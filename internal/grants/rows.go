package grants

import "cmp"

// Rows are the rows that a declared view may have: those of a source, by the pattern of the
// agents that they belong to and that of their keys, or of their ids where they have no key.
// An empty pattern is all.
type Rows struct {
	From         string // state, task, session, config, message, reminder, claim
	Agents, Keys string
}

// Action is the reading of all these rows. A grant covers the patterns if it matches their
// text: only its own "*" matches theirs.
func (r Rows) Action() Action {
	agents, keys := cmp.Or(r.Agents, "*"), cmp.Or(r.Keys, "*")
	switch r.From {
	case "state":
		return Action{Kind: Query, Aggregate: "agent", ID: agents, Verb: "get", Key: keys}
	case "config":
		return Action{Kind: Query, Aggregate: "config", ID: agents, Verb: "get", Key: keys}
	case "message": // what the senders have sent, to any recipient
		return Action{Kind: Query, Aggregate: "message", ID: agents, Verb: "history"}
	}
	return Action{Kind: Query, Aggregate: r.From, ID: keys, Verb: "get"}
}

// Shows decides whether the principal may read all these rows; missing is the smallest grant
// that would allow it. Where a grant is for holders, the rows must all belong to agents of
// the principal.
func (s *Set) Shows(r Rows) (ok bool, missing Grant) {
	v, missing := s.Decide(r.Action())
	return v == Yes || v == IfHolder && s.Holds(cmp.Or(r.Agents, "*")), missing
}
