package pg

import "strings"

// schema is where a durable view's tables are: the live ones in agents, those
// of a rebuild beside it. Statements are written for agents.
type schema string

const live schema = "agents"

// in is a statement for this schema.
func (s schema) in(statement string) string {
	if s == live {
		return statement
	}
	return strings.ReplaceAll(statement, string(live)+".", string(s)+".")
}
