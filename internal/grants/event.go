package grants

// Event decides whether the principal may read an event of an aggregate: by the grants
// for the history of the aggregate, or for get where it has no history, and by those for
// events. key is that of a state or configuration entry; anyKey = is there one that it
// may read?
func (s *Set) Event(aggregate, id, key string, anyKey bool) Verdict {
	v, _ := s.Decide(Action{Kind: Query, Aggregate: aggregate, ID: id, Verb: historyOf(aggregate), Key: key, AnyKey: anyKey})
	if v != Yes {
		if all, _ := s.Decide(Action{Kind: Query, Aggregate: "events", ID: id, Verb: "read"}); all == Yes {
			return Yes
		}
	}
	return v
}

// EventGrant is the smallest grant for the events of an aggregate.
func EventGrant(aggregate, id string) Grant {
	return Action{Kind: Query, Aggregate: aggregate, ID: id, Verb: historyOf(aggregate)}.grant()
}

// historyOf is the query whose grants are for the events of an aggregate.
func historyOf(aggregate string) string {
	if _, ok := ScopeOf(Query, aggregate, "history"); ok {
		return "history"
	}
	return "get"
}

// Events reports whether the principal may read any event: without a query grant none.
func (s *Set) Events() bool {
	if s == nil || s.all {
		return s != nil
	}
	for i := range s.grants {
		if s.grants[i].Kind == Query {
			return true
		}
	}
	return false
}
