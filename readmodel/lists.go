package readmodel

import "time"

// DocList is a query for a page of documents of one kind. Like AgentList it is ordered by name,
// with the last name seen as cursor: concurrent writes neither shorten a page nor repeat rows.
type DocList struct {
	Kind   string
	ID     string            // agent, for configuration
	Prefix string            // of the id, or of a configuration key
	After  string            // the last name seen
	Where  map[string]string // required column values
	Limit  int
}

// InboxList is a query for a page of an agent's messages, newest first.
type InboxList struct {
	Agent              string
	Direct, Broadcasts bool
	Before             time.Time // with AfterID the last message seen; zero = from the newest
	AfterID            string
	Limit              int
}

// AgentList is a query for a page of agents.
type AgentList struct {
	Phase  string // empty = any
	Prefix string
	After  string
	Limit  int
}
