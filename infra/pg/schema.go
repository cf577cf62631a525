package pg

import "strings"

// Schema names the schema of a durable view's tables: the live tables are in
// agents, those of a rebuild in a second schema.
type Schema string

// Live is the schema of the live tables. Every statement is written for it; the pool
// puts in the name that the database has for it, see OpenSchema.
const Live Schema = "agents"

// In rewrites a statement written for agents to use this schema.
func (s Schema) In(statement string) string {
	if s == Live {
		return statement
	}
	return strings.ReplaceAll(statement, string(Live)+".", string(s)+".")
}
