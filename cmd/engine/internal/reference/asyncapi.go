package reference

import (
	"regexp"
	"strings"

	"github.com/tidemark-engine/tidemark/internal/contract"
)

type object = map[string]any

func ref(path ...string) object { return object{"$ref": "#/" + strings.Join(path, "/")} }

// asyncAPI is the AsyncAPI 3 document, from the engine's point of view: it receives commands
// and queries, replies, and sends the rest.
func asyncAPI() object {
	d := &asyncDoc{channels: object{}, operations: object{}, messages: object{}, schemas: object{}}
	o := contract.Options{Ref: func(name string) string { return "#/components/schemas/" + name }}
	for name, shape := range contract.Shapes {
		if name != "EventTail" {
			d.schemas[name] = shape.Schema(o)
			d.messages[name] = object{"name": name, "summary": shape.Doc, "payload": ref("components", "schemas", name)}
		}
	}
	for typ := range contract.Events {
		d.schemas["event."+typ] = contract.EventSchema(typ, o)
		d.messages["event."+typ] = object{"name": typ, "summary": contract.Events[typ].Doc, "payload": ref("components", "schemas", "event."+typ)}
	}
	d.channels["replies"] = object{"address": nil, "description": "The reply subject of a request.", "messages": d.all(contract.Names(contract.Shapes))}
	for name, m := range contract.Commands {
		d.request("commands", name, &m, o)
	}
	for name, m := range contract.Queries {
		d.request("queries", name, &m, o)
	}
	d.durable()
	for _, ch := range contract.Channels {
		d.channel(ch)
	}
	return object{
		"asyncapi": "3.0.0",
		"info": object{
			"title": "Tidemark", "version": "2",
			"description": "The wire contract of Tidemark over NATS. --subject-prefix stands before every address. The pages in docs/reference explain it.",
			"license":     object{"name": "Apache-2.0"},
		},
		"defaultContentType": "application/json",
		"channels":           d.channels, "operations": d.operations,
		"components": object{"messages": d.messages, "schemas": d.schemas},
	}
}

type asyncDoc struct{ channels, operations, messages, schemas object }

// all are references to messages by their names.
func (d *asyncDoc) all(names []string) object {
	refs := object{}
	for _, name := range names {
		if _, ok := d.messages[name]; ok {
			refs[name] = ref("components", "messages", name)
		}
	}
	return refs
}

// address is the subject of a request: commands.agent.{id}.set.
func address(root, name string) string {
	noun, verb, _ := strings.Cut(name, ".")
	if verb == "" || name == contract.TasksNext || verb == "list" && strings.HasSuffix(noun, "s") || verb == "find" || verb == "read" && noun == "events" || noun == "engine" {
		return root + "." + name
	}
	return root + "." + noun + ".{id}." + verb
}

func parameters(address string) object {
	found := object{}
	for _, p := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(address, -1) {
		found[p[1]] = object{"description": "One token."}
	}
	return found
}

// commandHeaders are the headers of commands.
var commandHeaders = object{"type": "object", "properties": object{
	"Nats-Msg-Id": object{"type": "string", "description": "The command id; the engine makes one otherwise."},
	"traceparent": object{"type": "string", "description": "W3C trace context; kept in the events."},
	"tracestate":  object{"type": "string", "description": "Only with traceparent."},
}}

func (d *asyncDoc) request(root, name string, m *contract.Message, o contract.Options) {
	id := root + "." + name
	d.schemas[id] = m.Request(o.Ref)
	message := object{"name": name, "summary": m.Doc, "payload": ref("components", "schemas", id)}
	if root == "commands" {
		message["headers"] = commandHeaders
	}
	d.messages[id] = message
	at := address(root, name)
	d.channels[id] = object{"address": at, "parameters": parameters(at), "messages": object{"request": ref("components", "messages", id)}}
	d.operations[id] = object{
		"action": "receive", "channel": ref("channels", id), "summary": m.Doc, "messages": []any{ref("channels", id, "messages", "request")},
		"reply": object{"channel": ref("channels", "replies"), "messages": []any{ref("channels", "replies", "messages", m.AnswerOf()), ref("channels", "replies", "messages", "Error")}},
	}
}

// durable is the subject of commands that are executed later.
func (d *asyncDoc) durable() {
	const at = "enqueue.{aggregate}.{id}.{verb}"
	requests, messages := object{}, []any{}
	for _, name := range contract.Names(contract.Commands) {
		if strings.Contains(name, ".") && name != contract.TasksNext {
			requests[name] = ref("components", "messages", "commands."+name)
			messages = append(messages, ref("channels", "enqueue", "messages", name))
		}
	}
	d.channels["enqueue"] = object{"address": at, "parameters": parameters(at), "messages": requests}
	d.operations["enqueue"] = object{
		"action": "receive", "channel": ref("channels", "enqueue"), "messages": messages,
		"summary": "A durable command: the publish acknowledgement is that of the stream COMMANDS; the receipt or error comes on outcomes.<command_id>.",
	}
}

func (d *asyncDoc) channel(ch contract.Channel) {
	id := strings.ReplaceAll(strings.NewReplacer("<", "", ">", "", ".…", "").Replace(ch.Subject), " ", "")
	at := strings.ReplaceAll(regexp.MustCompile(`<(\w+)>`).ReplaceAllString(ch.Subject, "{$1}"), ".…", "")
	messages := object{ch.Message: ref("components", "messages", ch.Message)}
	if ch.Message == "Event" {
		messages = object{}
		for typ, ev := range contract.Events {
			if ch.Stream == "EVENTS" || strings.HasPrefix(ev.Feed, prefix(ch.Subject)) {
				messages[typ] = ref("components", "messages", "event."+typ)
			}
		}
	}
	d.channels[id] = object{"address": at, "parameters": parameters(at), "messages": messages, "description": ch.Doc + " Stream " + ch.Stream + "."}
	d.operations[id] = object{"action": "send", "channel": ref("channels", id), "summary": ch.Doc}
}

// prefix is a subject up to its first parameter.
func prefix(subject string) string {
	p, _, _ := strings.Cut(subject, "<")
	return p
}
