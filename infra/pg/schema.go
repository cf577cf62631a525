package pg

import "strings"

// schema is where a durable view's tables are: the live ones in agents, those
// of a rebuild beside it. Statements are written for agents.
type Schema string

const Live Schema = "agents"

// in is a statement for this schema.
func (s Schema) In(statement string) string {
	if s == Live {
		return statement
	}
	return strings.ReplaceAll(statement, string(Live)+".", string(s)+".")
}
