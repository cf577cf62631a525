package grants

import (
	"maps"
	"slices"
	"strings"
)

// Kind is what a grant allows to do with what its pattern matches.
type Kind string

const (
	Command Kind = "command" // change it: request, batch, enqueue, outbox
	Query   Kind = "query"   // ask about it
	Watch   Kind = "watch"   // read buckets and feeds of it
	Admin   Kind = "admin"   // work on the engine
)

// Scope is what of a request a grant is compared with.
type Scope int

const (
	ByID   Scope = iota // the id
	ByKey               // the id and the key in the body
	ByTask              // the id; a grant may be for the holder only
	List                // nothing: the answer has what the grants allow
	Own                 // nothing: the answer has what the principal itself sent
	Open                // nothing: every principal may; the answer says less without an admin grant
)

// verbs are all commands of the wire contract and what they are compared with.
var verbs = map[string]map[string]Scope{
	"agent": {
		"set": ByKey, "delete": ByKey, "merge": ByKey, "add": ByKey, "append": ByKey, "revert": ByKey,
		"erase": ByID, "hydrate": ByID, "flush": ByID, "expire": ByID, "retire": ByID, "heartbeat": ByID, "fork": ByID,
	},
	"task": {
		"create": ByID, "claim": ByTask, "start": ByTask, "progress": ByTask, "complete": ByTask, "fail": ByTask, "cancel": ByTask, "next": ByTask,
	},
	"session":  {"open": ByID, "put": ByID, "touch": ByID, "close": ByID},
	"config":   {"set": ByKey, "unset": ByKey},
	"message":  {"direct": ByID, "broadcast": ByID, "notify": ByID, "read": ByID},
	"reminder": {"set": ByID, "cancel": ByID},
	"view":     {"define": ByID, "remove": ByID},
	"claim":    {"acquire": ByTask, "renew": ByTask, "release": ByTask},
}

// queries are all queries of the wire contract by noun and name.
var queries = map[string]map[string]Scope{
	"agent": {
		"get": ByKey, "history": ByKey, "entries": ByKey, "timeline": ByID, "diff": ByID, "lifecycle": ByID, "list": List, "find": List,
	},
	"task":     {"get": ByTask, "history": ByTask, "list": List},
	"session":  {"get": ByID, "history": ByID, "list": List},
	"config":   {"get": ByKey, "history": ByKey, "entries": ByKey},
	"message":  {"inbox": ByID, "history": ByID},
	"reminder": {"get": ByID, "history": ByID, "list": List},
	"claim":    {"get": ByTask, "history": ByTask, "list": List},
	"view":     {"get": ByID, "list": ByID, "definition": ByID, "history": ByID, "definitions": List},
	"events":   {"read": List},
	"command":  {"get": Own},
	"engine":   {"status": Open},
}

// watched are the aggregates that buckets and feeds show; the verb of a watch has no
// name.
var watched = []string{"agent", "task", "session", "config", "message", "reminder", "claim"}

// areas are what an admin grant can name.
var areas = []string{"archive", "auth", "dlq", "rebuild", "status", "topology", "verify"}

// aggregates are the names that a grant of a kind can have before the colon.
func aggregates(k Kind) []string {
	switch k {
	case Command:
		return slices.Sorted(maps.Keys(verbs))
	case Query:
		return slices.Sorted(maps.Keys(queries))
	}
	return watched
}

// verbsOf are the verbs of an aggregate, or of all for "*".
func verbsOf(k Kind, aggregate string) []string {
	table := verbs
	if k == Query {
		table = queries
	}
	all := map[string]bool{}
	for name, known := range table {
		if aggregate == "*" || aggregate == name {
			for verb := range known {
				all[verb] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// ScopeOf returns what a command (by aggregate and verb) or a query (by noun and name)
// is compared with; false for one that is not in the contract.
func ScopeOf(k Kind, aggregate, verb string) (Scope, bool) {
	table := verbs
	if k == Query {
		table = queries
	}
	scope, ok := table[aggregate][verb]
	return scope, ok
}

// QueryName turns the name of a query as in its subject without the id, "agents.list" or
// "agent.get", into the noun and the name of its rule. Lists have a noun in the plural.
func QueryName(subject string) (noun, name string) {
	noun, name, _ = strings.Cut(subject, ".")
	switch {
	case noun == "state" && name == "find":
		return "agent", name
	case subject == "views.list": // of definitions; view.list is of the rows of one view
		noun, name = "view", "definitions"
	case name == "list":
		noun = strings.TrimSuffix(noun, "s")
	}
	return noun, name
}
