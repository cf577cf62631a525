package readmodel

import "time"

// DocList asks for a page of documents of one kind.
type DocList struct {
	Kind   string
	ID     string            // of configuration: the agent
	Prefix string            // of the id, or of a configuration's key
	After  string            // the last one seen
	Where  map[string]string // columns that must equal
	Limit  int
}

// InboxList asks for a page of what reached an agent, newest first.
type InboxList struct {
	Agent              string
	Direct, Broadcasts bool
	Before             time.Time // with AfterID the last one seen; zero = from the newest
	AfterID            string
	Limit              int
}

// This file answers lists: from SQL by name, where a cursor is the last name
// seen, so that a page is neither cut short nor repeated by what is written
// meanwhile.

// AgentList asks for a page of agents.
type AgentList struct {
	Phase  string // empty = any
	Prefix string
	After  string
	Limit  int
}
