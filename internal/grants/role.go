package grants

import (
	"fmt"
	"strings"
)

// Roles are the built-in roles. AGENTS stands for the pattern of the agents that the
// principal is.
var Roles = map[string][]string{
	"agent": {
		"command agent:AGENTS add,append,delete,expire,flush,fork,heartbeat,hydrate,merge,retire,revert,set",
		"command config:AGENTS", "command session:AGENTS", "command message:AGENTS", "command reminder:AGENTS",
		"command task:* claim,complete,fail,next,progress,start when holder",
		"command claim:* acquire,release,renew when holder",
		"query agent:AGENTS", "query config:AGENTS", "query session:AGENTS", "query message:AGENTS", "query reminder:AGENTS",
		"watch agent:AGENTS", "watch config:AGENTS", "watch session:AGENTS", "watch message:AGENTS", "watch reminder:AGENTS",
		"query task:* when holder", "query claim:* when holder", "query view:* get,list",
	},
	"worker": {
		"command agent:AGENTS heartbeat",
		"command task:* claim,complete,fail,next,progress,start when holder",
		"command claim:* acquire,release,renew when holder",
		"query task:* when holder", "query claim:* when holder", "watch task:*",
	},
	"reader": {
		"query agent:AGENTS", "query config:AGENTS", "query session:AGENTS", "query message:AGENTS", "query reminder:AGENTS",
		"watch agent:AGENTS", "watch config:AGENTS", "watch session:AGENTS", "watch message:AGENTS", "watch reminder:AGENTS",
		"query task:* when holder", "query claim:* when holder", "query view:* get,list",
	},
	"operator": {
		"command agent:* expire,flush,hydrate,retire", "command task:* cancel", "command session:* close", "command reminder:* cancel", "command claim:* release", "command view:*",
		"query *:*", "watch *:*", "admin archive,dlq,rebuild,status,topology,verify",
	},
	"none":  {},
	"admin": {"command *:*", "query *:*", "watch *:*", "admin *"},
}

// everything are the grants of a reader of all agents, beyond those of some.
var everything = map[string][]string{"reader": {"query *:*", "watch *:*"}}

// CheckAgents fails for what is no pattern of agent ids.
func CheckAgents(pattern string) error {
	if pattern == "" || len(pattern) > maxID || !only(pattern, idCharacters+"*") {
		return fmt.Errorf("%.64q is not a pattern of agent ids: 1 to %d of A-Z a-z 0-9 _ - and *", pattern, maxID)
	}
	return nil
}

// Of returns the grants of a role for a pattern of agents.
func Of(role, agents string) ([]Grant, error) {
	texts, ok := Roles[role]
	if !ok {
		return nil, fmt.Errorf("there is no role %.64q: the roles are agent, worker, reader, operator, admin, and none for grants alone", role)
	}
	if err := CheckAgents(agents); err != nil {
		return nil, err
	}
	if agents == "*" {
		texts = append(texts[:len(texts):len(texts)], everything[role]...)
	}
	all := make([]Grant, 0, len(texts))
	for _, text := range texts {
		g, err := Parse(strings.ReplaceAll(text, "AGENTS", agents))
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}
