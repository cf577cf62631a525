package mcp

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/tidemark-engine/tidemark/client"
)

// tool is a tool of the server.
type tool struct {
	name   string
	help   string
	writes bool
	params []param
	run    func(ctx context.Context, s *Server, a args) (any, error)
}

var (
	agent       = param{"agent", "string", true, "id of the agent whose state it is"}
	key         = param{"key", "string", true, "key of the entry: tokens of letters, digits, _ = / - joined by dots"}
	atRevision  = param{"at_revision", "integer", false, "the state after this revision of the journal, instead of now"}
	atTime      = param{"at_time", "string", false, "the state at this time (RFC 3339), instead of now"}
	expected    = param{"expected_version", "integer", false, "write only if the entry has this version; 0 = only if it does not exist"}
	reason      = param{"reason", "string", false, "why, for the history"}
	limit       = param{"limit", "integer", false, "rows of a page, at most 1000"}
	cursor      = param{"cursor", "string", false, "cursor of the page before"}
	fence       = param{"fence", "integer", true, "the fence that task_next has given"}
	task        = param{"task", "string", true, "id of the task"}
	commandID   = param{"command_id", "string", false, "a ULID; the same id and arguments again have no second effect"}
	worker      = param{"agent", "string", true, "id of the agent that works on the task"}
	commonWrite = []param{agent, key, expected, commandID}
)

// tools are all tools, in the order in which a client lists them.
var tools = []tool{
	{"state_get", "Read an entry of an agent's state, now or in the past: its value, version and revision.", false,
		[]param{agent, key, atRevision, atTime}, reads("get")},
	{"state_set", "Write an entry of an agent's state. With expected_version it fails if someone else has written meanwhile; the result then has the present value.", true,
		write([]param{{"value", "", true, "any JSON value"}, {"strategy", "string", false, "last_write_wins, timestamp (default) or reject (only if it does not exist)"}}), agentCommand("set")},
	{"state_merge", "Change members of an object: a JSON merge patch (null removes a member). Concurrent merges all take effect.", true,
		write([]param{{"value", "object", true, "the merge patch"}}), agentCommand("merge")},
	{"state_append", "Append items to an array. Concurrent appends all take effect. Returns the new array.", true,
		write([]param{{"items", "array", true, "the items"}, {"max_items", "integer", false, "how many of the newest items stay"}}), agentCommand("append")},
	{"state_find", "Find entries of all agents by their content (the engine needs --search).", false,
		[]param{{"agent_prefix", "string", false, "agents whose id begins so"}, {"key_prefix", "string", false, "keys that begin so"},
			{"contains", "", false, "JSON that the value must contain"}, {"path", "string", false, "an SQL/JSON path predicate"},
			{"text", "string", false, "words of a full-text search"}, limit, cursor}, stateFind},
	{"state_history", "All versions of an entry, newest first, with who wrote them and when.", false,
		[]param{agent, key, {"losers", "boolean", false, "also writes that lost a conflict"}, limit, cursor}, agentQuery("history")},
	{"state_diff", "What changed in an agent's state between two points: a JSON Patch and the events that caused it.", false,
		[]param{agent, {"from", "", true, "a revision (number) or a time (string)"}, {"to", "", false, "likewise; default now"}, limit, cursor}, agentQuery("diff")},
	{"state_revert", "Bring an entry, or without key the whole state of an agent, back to an earlier point, as new events.", true,
		[]param{agent, {"key", "string", false, "the entry; all entries if it is left out"}, {"to_version", "integer", false, "version of the entry"},
			{"to_revision", "integer", false, "revision of the journal"}, {"to_time", "string", false, "time (RFC 3339)"}, reason, expected, commandID}, agentCommand("revert")},
	{"agent_fork", "Make a new agent from the state of another one, now or in the past.", true,
		[]param{{"agent", "string", true, "id of the new agent"}, {"from", "string", true, "id of the other agent"}, atRevision, atTime, reason, commandID}, agentCommand("fork")},
	{"why", "Why an entry has its value: the event, the command, its sender and trace, and the writes that lost against it.", false,
		[]param{agent, key}, why},
	{"task_create", "Create a task for some agent to work on.", true,
		[]param{{"task", "string", false, "id of the task; default: a new one"}, {"kind", "string", true, "kind of work"}, {"payload", "", false, "any JSON value"},
			{"agent_id", "string", false, "the only agent that may claim it"}, {"priority", "integer", false, "1 to 10, 10 first"},
			{"deadline", "string", false, "RFC 3339"}, {"retry", "object", false, `{"max_attempts", "backoff_ms"}`}, commandID}, taskCreate},
	{"task_next", "Claim the next task by priority and age. Report its end with the fence of the answer before its lease runs out.", true,
		[]param{worker, {"kind", "string", false, "kind of work"}, {"lease_ms", "integer", false, "default 30000"}, {"wait_ms", "integer", false, "how long to wait for a task, at most 60000"}}, taskNext},
	{"task_complete", "End a task with its result.", true,
		[]param{task, worker, fence, {"result", "", false, "any JSON value"}, commandID}, taskCommand("complete")},
	{"task_fail", "End an attempt at a task as failed; it may be retried.", true,
		[]param{task, worker, fence, {"reason", "string", true, "one word like an id"}, {"detail", "string", false, "for people"}, commandID}, taskCommand("fail")},
	{"remind", "Let the engine send a command at a time, periodically or by cron.", true,
		[]param{{"reminder", "string", false, "id of the reminder; default: a new one"}, {"at", "string", false, "a time (RFC 3339)"}, {"every_ms", "integer", false, "an interval, 1000 at least"},
			{"cron", "string", false, "five cron fields"}, {"timezone", "string", false, "IANA time zone of cron"}, {"until", "string", false, "no due time after it"}, {"count", "integer", false, "largest number of firings"},
			{"missed", "string", false, "of due times while the engine was down: one (default), all or skip"},
			{"command", "object", true, `{"subject": "agent.<id>.set", "body": {…}}`}, commandID}, remind},
	{"message_send", "Send a message from an agent to another one, or to all if there is no receiver.", true,
		[]param{{"agent", "string", true, "id of the sender"}, {"to", "string", false, "id of the receiver; all agents if it is left out"}, {"body", "", true, "any JSON value"}, commandID}, messageSend},
	{"inbox", "Messages to an agent, newest first, broadcasts included.", false,
		[]param{agent, {"kind", "string", false, "direct or broadcast"}, limit, cursor}, inbox},
}

// write is the parameters of a write of one entry.
func write(more []param) []param { return slices.Insert(slices.Clone(commonWrite), 2, more...) }

// answer keeps an answer of the engine as it came.
type answer = json.RawMessage

func (s *Server) command(ctx context.Context, subject string, a args, without ...string) (any, error) {
	options := []client.CommandOption{}
	if id := a.text("command_id"); id != "" {
		options = append(options, client.CommandID(id))
	}
	receipt, err := s.client.Command(ctx, subject, a.body(append(without, "command_id")...), options...)
	return receipt, err
}

func agentCommand(verb string) func(context.Context, *Server, args) (any, error) {
	return func(ctx context.Context, s *Server, a args) (any, error) {
		return s.command(ctx, "agent."+a.text("agent")+"."+verb, a, "agent")
	}
}

func agentQuery(query string) func(context.Context, *Server, args) (any, error) {
	return func(ctx context.Context, s *Server, a args) (any, error) {
		var out answer
		err := s.client.Query(ctx, "agent."+a.text("agent")+"."+query, a.body("agent"), &out)
		return out, err
	}
}

// reads is agentQuery for a query that waits for what this server has seen.
func reads(query string) func(context.Context, *Server, args) (any, error) {
	return func(ctx context.Context, s *Server, a args) (any, error) {
		return s.ask(ctx, "agent."+a.text("agent")+"."+query, a, "agent")
	}
}

func (s *Server) ask(ctx context.Context, subject string, a args, without ...string) (any, error) {
	var out answer
	err := s.client.Read(ctx, subject, a.body(without...), &out)
	return out, err
}

func stateFind(ctx context.Context, s *Server, a args) (any, error) {
	return s.ask(ctx, "state.find", a)
}

func inbox(ctx context.Context, s *Server, a args) (any, error) {
	return s.ask(ctx, "message."+a.text("agent")+".inbox", a, "agent")
}

func taskCreate(ctx context.Context, s *Server, a args) (any, error) {
	id := a.text("task")
	if id == "" {
		id = client.NewID()
	}
	return s.command(ctx, "task."+id+".create", a, "task")
}

func taskNext(ctx context.Context, s *Server, a args) (any, error) {
	t, err := s.client.NextTask(ctx, a.text("kind"), a.text("agent"), a.millis("lease_ms", 30_000), a.millis("wait_ms", 0))
	if err != nil {
		return nil, err
	}
	return map[string]any{"task": t, "fence": t.Fence()}, nil
}

func taskCommand(verb string) func(context.Context, *Server, args) (any, error) {
	return func(ctx context.Context, s *Server, a args) (any, error) {
		a = maps.Clone(a)
		a["agent_id"] = a["agent"]
		return s.command(ctx, "task."+a.text("task")+"."+verb, a, "task", "agent")
	}
}

func remind(ctx context.Context, s *Server, a args) (any, error) {
	id := a.text("reminder")
	if id == "" {
		id = client.NewID()
	}
	return s.command(ctx, "reminder."+id+".set", a, "reminder")
}

func messageSend(ctx context.Context, s *Server, a args) (any, error) {
	verb := "direct"
	if _, to := a["to"]; !to {
		verb = "broadcast"
	}
	return s.command(ctx, "message."+a.text("agent")+"."+verb, a, "agent")
}
