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
	Only   *Visible          // nil = all
	Limit  int
}

// Visible is what of a list its reader may see: rows that match one of the patterns, in
// which * is any characters.
type Visible struct {
	IDs    []string // of the id
	Agents []string // of the agent that a task is assigned to or that owns a claim; unassigned tasks are visible then
}

// InboxList is a query for a page of an agent's messages, newest first.
type InboxList struct {
	Agent              string
	Direct, Broadcasts bool
	Unread             bool      // only those that the agent has not read
	Before             time.Time // with AfterID the last message seen; zero = from the newest
	AfterID            string
	Limit              int
}

// AgentList is a query for a page of agents.
type AgentList struct {
	Phase  string   // empty = any
	Only   *Visible // nil = all
	Prefix string
	After  string
	Limit  int
}
