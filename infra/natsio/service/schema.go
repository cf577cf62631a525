package service

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// The bodies of the wire contract, one line each: its members, "!" = required, and the
// type: s string, i integer, n number, b boolean, t time, o object, a array, v any value.
var commandBodies = map[string]string{
	"agent.set":         "key:s! value:v! strategy:s timestamp:t expected_version:i writer:s",
	"agent.delete":      "key:s! strategy:s timestamp:t expected_version:i writer:s",
	"agent.merge":       "key:s! value:o! expected_version:i writer:s",
	"agent.add":         "key:s! delta:n! min:n max:n expected_version:i writer:s",
	"agent.append":      "key:s! items:a! max_items:i expected_version:i writer:s",
	"agent.revert":      "key:s to_version:i to_revision:i to_time:t reason:s expected_version:i",
	"agent.hydrate":     "reason:s",
	"agent.flush":       "reason:s",
	"agent.expire":      "reason:s",
	"agent.retire":      "reason:s",
	"agent.heartbeat":   "status:s",
	"agent.fork":        "from:s! at_revision:i at_time:t reason:s",
	"agent.erase":       "reason:s!",
	"task.create":       "kind:s! payload:v agent_id:s priority:i deadline:t retry:o",
	"task.claim":        "agent_id:s! lease_ms:i",
	"task.start":        "agent_id:s!",
	"task.progress":     "percent:n note:s agent_id:s fence:i",
	"task.complete":     "result:v agent_id:s fence:i",
	"task.fail":         "reason:s! detail:s agent_id:s fence:i",
	"task.cancel":       "reason:s",
	"session.open":      "owner:s! ttl:s",
	"session.put":       "key:s! value:v!",
	"session.touch":     "",
	"session.close":     "",
	"config.set":        "key:s! value:v! expected_version:i",
	"config.unset":      "key:s! expected_version:i",
	"claim.acquire":     "owner:s! lease_ms:i data:v",
	"claim.renew":       "owner:s! fence:i! lease_ms:i",
	"claim.release":     "owner:s! fence:i!",
	"message.direct":    "to:s! body:v!",
	"message.broadcast": "body:v!",
	"message.notify":    "type:s! body:v!",
	"message.read":      "up_to:i marks:a",
	"batch":             "atomic:b commands:a! require:a",
	"reminder.set":      "at:t every_ms:i cron:s timezone:s until:t count:i missed:s command:o! agent_id:s",
	"reminder.cancel":   "",
	"view.define":       "name:s from:s! agents:s keys:s columns:o group:o into:a expected_version:i",
	"view.remove":       "",
	"tasks.next":        "agent_id:s! kind:s lease_ms:i wait_ms:i",
}

// receiptBody is the answer to a command.
const receiptBody = "command_id:s! outcome:s! aggregate:s! id:s! key:s version:i! revision:i! token:s! replayed:b! value:v keys:i"

const paged = " limit:i cursor:s"

var queryBodies = map[string]string{
	"agent.get":        "key:s! token:s wait_ms:i consistency:s at_revision:i at_time:t",
	"agent.entries":    "prefix:s token:s wait_ms:i max_age_ms:i at_revision:i at_time:t" + paged,
	"agent.history":    "key:s! losers:b" + paged,
	"agent.lifecycle":  "token:s wait_ms:i at_revision:i at_time:t",
	"agent.timeline":   "from:v to:v" + paged,
	"agent.diff":       "from:v! to:v" + paged,
	"agents.list":      "phase:s prefix:s token:s wait_ms:i max_age_ms:i" + paged,
	"task.get":         "token:s wait_ms:i at_revision:i at_time:t",
	"task.history":     paged,
	"tasks.list":       "status:s agent_id:s kind:s prefix:s token:s wait_ms:i max_age_ms:i" + paged,
	"state.find":       "agent_prefix:s key:s key_prefix:s contains:v path:s text:s token:s wait_ms:i" + paged,
	"session.get":      "token:s wait_ms:i at_revision:i at_time:t",
	"session.history":  paged,
	"sessions.list":    "owner:s status:s prefix:s token:s wait_ms:i max_age_ms:i" + paged,
	"claim.get":        "token:s wait_ms:i at_revision:i at_time:t",
	"claim.history":    paged,
	"claims.list":      "owner:s status:s prefix:s token:s wait_ms:i max_age_ms:i" + paged,
	"reminder.get":     "token:s wait_ms:i at_revision:i at_time:t",
	"reminder.history": paged,
	"reminders.list":   "status:s agent_id:s prefix:s token:s wait_ms:i max_age_ms:i" + paged,
	"view.definition":  "token:s wait_ms:i at_revision:i at_time:t",
	"view.history":     paged,
	"views.list":       "status:s prefix:s token:s wait_ms:i max_age_ms:i" + paged,
	"config.get":       "key:s! token:s wait_ms:i at_revision:i at_time:t",
	"config.entries":   "prefix:s token:s wait_ms:i max_age_ms:i at_revision:i at_time:t" + paged,
	"config.history":   "key:s!" + paged,
	"message.inbox":    "kind:s broadcasts:b unread:b token:s wait_ms:i max_age_ms:i" + paged,
	"message.history":  paged,
	"events.read":      "subject:s from:i until:i partition:i limit:i wait_ms:i",
	"command.get":      "",
	"engine.status":    "",
}

type object = map[string]any

var types = map[string]object{
	"s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"},
	"t": {"type": "string", "format": "date-time"}, "o": {"type": "object"}, "a": {"type": "array"}, "v": {},
}

// schemaOf is the metadata of an endpoint: the JSON Schema of its request bodies, with a
// definition for each subject, and that of its answers.
func schemaOf(endpoint string) map[string]string {
	bodies, answer := queryBodies, object{"type": "object"}
	if endpoint == "commands" {
		bodies, answer = commandBodies, schema(receiptBody, true)
	}
	defs, any := object{}, []object{}
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		defs[name] = schema(bodies[name], false)
		any = append(any, object{"$ref": "#/$defs/" + name})
	}
	answer["$schema"] = dialect
	return map[string]string{
		"schema":          text(object{"$schema": dialect, "title": endpoint, "$defs": defs, "anyOf": any}),
		"response_schema": text(answer),
	}
}

const dialect = "https://json-schema.org/draft/2020-12/schema"

// schema is the JSON Schema of a line above; open = with other members too.
func schema(line string, open bool) object {
	properties, required := object{}, []string{}
	for _, member := range strings.Fields(line) {
		name, kind, _ := strings.Cut(member, ":")
		if kind, must := strings.CutSuffix(kind, "!"); must {
			required = append(required, name)
			properties[name] = types[kind]
		} else {
			properties[name] = types[kind]
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": open}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func text(s object) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // the lines above always encode
	}
	return string(b)
}
