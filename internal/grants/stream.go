package grants

import (
	"slices"
	"strings"
)

// All reports whether a whole stream may be read as it is: every subject in it.
func (s *Set) All(stream string) bool {
	if s == nil || s.all {
		return s != nil
	}
	switch stream {
	case "AGENT_STATE", "KV_AGENT_STATE":
		return s.watchesAll("agent")
	case "KV_AGENT_CONFIG":
		return s.watchesAll("config")
	case "TASK_EXECUTION", "KV_TASK_STATE":
		return s.watchesAll("task")
	case "KV_SESSION_DATA":
		return s.watchesAll("session")
	case "KV_CLAIM_STATE":
		return s.watchesAll("claim")
	case "KV_REMINDER_STATE":
		return s.watchesAll("reminder")
	case "AGENT_MESSAGES":
		return s.watchesAll("message")
	case "KV_QUERY_CACHE": // it has answers about everything
		for _, aggregate := range watched {
			if !s.watchesAll(aggregate) {
				return false
			}
		}
		return true
	}
	return false
}

// Some reports whether anything of a stream may be read.
func (s *Set) Some(stream string) bool {
	if s.All(stream) {
		return true
	}
	aggregate, ok := aggregateOf[stream]
	return ok && s != nil && slices.ContainsFunc(s.grants, func(g Grant) bool {
		return g.Kind == Watch && (g.Aggregate == "*" || g.Aggregate == aggregate)
	})
}

// republished stands where the feed has the id of an agent when it repeats rows of the bucket
// AGENT_STATE: those of all agents. No agent has this id, which patterns may match.
const republished = "kv"

// aggregateOf is the aggregate whose messages a stream has, of streams whose subjects name the id.
var aggregateOf = map[string]string{
	"AGENT_STATE": "agent", "KV_AGENT_STATE": "agent", "KV_AGENT_CONFIG": "config", "TASK_EXECUTION": "task",
	"KV_TASK_STATE": "task", "KV_SESSION_DATA": "session", "KV_REMINDER_STATE": "reminder", "KV_CLAIM_STATE": "claim", "AGENT_MESSAGES": "message",
}

func (s *Set) watchesAll(aggregate string) bool { return s.watches(aggregate, "*", "*") }

// watches reports whether the grants cover a pattern of ids and one of keys; key is
// empty for what has none.
func (s *Set) watches(aggregate, id, key string) bool {
	for i := range s.grants {
		g := &s.grants[i]
		if g.Kind == Watch && (g.Aggregate == "*" || g.Aggregate == aggregate) && covers(g.ID, id) &&
			(g.wholeAgent() || key != "" && covers(g.Key, key)) {
			return true
		}
	}
	return false
}

// Covers reports whether all messages of a stream that subject matches may be read;
// subject may have the wildcards of NATS, and has no subject prefix.
func (s *Set) Covers(stream, subject string) bool {
	if s.All(stream) {
		return true
	}
	if s == nil {
		return false
	}
	t := strings.Split(subject, ".")
	for i, token := range t { // ">" is more than one token
		if token == "" || token == ">" && i < len(t)-1 {
			return false
		}
	}
	switch stream {
	case "KV_AGENT_STATE":
		return s.coversBucket("agent", "AGENT_STATE", t)
	case "KV_AGENT_CONFIG":
		return s.coversBucket("config", "AGENT_CONFIG", t)
	case "KV_TASK_STATE":
		return s.coversBucket("task", "TASK_STATE", t)
	case "KV_SESSION_DATA":
		return s.coversBucket("session", "SESSION_DATA", t)
	case "KV_CLAIM_STATE":
		return s.coversBucket("claim", "CLAIM_STATE", t)
	case "KV_REMINDER_STATE":
		return s.coversBucket("reminder", "REMINDER_STATE", t)
	case "AGENT_STATE":
		if len(t) < 3 || t[0] != "agents" || t[2] == republished {
			return false
		}
		if t[1] == "state" && len(t) > 3 {
			return s.coversKey("agent", t[2], t[3:])
		}
		return (t[1] == "state" || t[1] == "lifecycle" || t[1] == "heartbeat") && s.coversKey("agent", t[2], nil)
	case "TASK_EXECUTION":
		return len(t) > 2 && t[0] == "tasks" && s.coversKey("task", t[2], nil)
	case "AGENT_MESSAGES":
		return len(t) > 2 && t[0] == "messages" && s.coversMessages(t[1:])
	}
	return false
}

// coversBucket is Covers for $KV.<bucket>.<id>[.<key>].
func (s *Set) coversBucket(aggregate, bucket string, t []string) bool {
	return len(t) > 2 && t[0] == "$KV" && t[1] == bucket && s.coversKey(aggregate, t[2], t[3:])
}

func (s *Set) coversKey(aggregate, id string, key []string) bool {
	if id == ">" {
		return false
	}
	text := strings.Join(key, ".")
	if strings.HasSuffix(text, ">") {
		text = strings.TrimSuffix(text, ">") + "*"
	}
	return s.watches(aggregate, id, text)
}

// coversMessages is Covers for direct.<from>.<to>, broadcast.<from> and
// notification.<type>: a direct message is for both of its agents, the others are for
// every agent.
func (s *Set) coversMessages(t []string) bool {
	switch t[0] {
	case "direct":
		return len(t) == 3 && t[2] != ">" && (s.watches("message", t[1], "") || s.watches("message", t[2], ""))
	case "broadcast", "notification":
		for i := range s.grants {
			if g := &s.grants[i]; g.Kind == Watch && (g.Aggregate == "*" || g.Aggregate == "message") {
				return true
			}
		}
	}
	return false
}

// Feeds are the subjects of the feeds that the grants cover, for a client that
// subscribes: all of a feed, and what belongs to agents and tasks that are named without
// a "*". What a pattern covers is read through a consumer.
func (s *Set) Feeds() (subjects []string) {
	if s == nil {
		return nil
	}
	all := map[string]string{"agent": "agents.>", "task": "tasks.>", "message": "messages.>"}
	for aggregate, subject := range all {
		if s.all || s.watchesAll(aggregate) {
			subjects = append(subjects, subject)
			delete(all, aggregate)
		}
	}
	for i := range s.grants {
		g := &s.grants[i]
		if g.Kind != Watch || !g.wholeAgent() {
			continue
		}
		named := !strings.Contains(g.ID, "*")
		for aggregate := range all {
			switch {
			case g.Aggregate != "*" && g.Aggregate != aggregate:
			case aggregate == "agent" && named && g.ID != republished:
				subjects = append(subjects, "agents.state."+g.ID, "agents.state."+g.ID+".>", "agents.lifecycle."+g.ID+".>", "agents.heartbeat."+g.ID)
			case aggregate == "task" && named:
				subjects = append(subjects, "tasks.*."+g.ID, "tasks.*."+g.ID+".>")
			case aggregate == "message":
				subjects = append(subjects, "messages.broadcast.*", "messages.notification.*")
				if named {
					subjects = append(subjects, "messages.direct.*."+g.ID)
				}
			}
		}
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}
