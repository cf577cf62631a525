package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/tidemark-engine/tidemark/client"
)

// event is an event, as queries show it.
type event struct {
	client.Event
	Schema     int    `json:"schema"`
	Partition  int    `json:"partition"`
	Unreadable string `json:"unreadable"` // of a timeline: the aggregate
}

// eventURL is the page of an event.
func eventURL(partition int, revision uint64) templ.SafeURL {
	q := url.Values{}
	if partition > 0 {
		q.Set("partition", strconv.Itoa(partition))
	}
	return pathTo("/events/"+text(revision), q)
}

func pointURL(agent string, revision uint64) templ.SafeURL {
	return pathTo("/agents/"+url.PathEscape(agent), url.Values{"revision": {text(revision)}})
}

// lost reports whether the event is of a write that did not take effect.
func (e *event) lost() bool {
	return e.Type == "agent.state_superseded" || e.Type == "agent.state_rejected"
}

func (e *event) row() string { return "e-" + strconv.Itoa(e.Partition) + "-" + text(e.Revision) }

func (e *event) names() string {
	if e.Writer == "" && e.Actor == "" {
		return "–"
	}
	return strings.TrimPrefix(byNames(e.Writer, e.Actor), "by ")
}

// name is the aggregate below events., as events.read takes it.
func (e *event) name() string {
	switch {
	case e.Aggregate == "agent" && e.lost():
		return "agent." + e.ID + ".conflict." + e.Key
	case e.Aggregate == "agent" && e.Key != "":
		return "agent." + e.ID + ".state." + e.Key
	case e.Aggregate == "agent":
		return "agent." + e.ID + ".lifecycle"
	case e.Key != "":
		return e.Aggregate + "." + e.ID + "." + e.Key
	}
	return e.Aggregate + "." + e.ID
}

// traceID is the trace id in the event's context.
func (e *event) traceID() string {
	if parts := strings.Split(e.Traceparent, "-"); len(parts) >= 4 {
		return parts[1]
	}
	return ""
}

// eventData is what the page of an event shows.
type eventData struct {
	event     event
	raw       json.RawMessage // as it is stored
	partition int
	head      uint64
	before    uint64 // revision of the event before it in the aggregate; 0 = there is none
	after     uint64
	checked   digestCheck
}

func (c *Console) event(r *request) (view, error) {
	revision, err := strconv.ParseUint(r.PathValue("revision"), 10, 64)
	if err != nil || revision == 0 {
		return view{}, &client.Error{Kind: "not_found", Code: "event.not_found", Status: http.StatusNotFound, Message: "the revision of an event is a number from 1 on"}
	}
	d := eventData{partition: int(min(r.number("partition"), 1024))} //nolint:gosec // bounded
	raw, head, err := r.read(map[string]any{"from": revision, "until": revision, "partition": d.partition})
	switch {
	case err != nil:
		return view{}, err
	case len(raw) == 0 && revision > head:
		return view{}, &client.Error{Kind: "not_found", Code: "event.not_found", Status: http.StatusNotFound, Message: "the journal's partition " + strconv.Itoa(d.partition) + " ends at revision " + text(head)}
	case len(raw) == 0:
		return view{}, &client.Error{Kind: "not_found", Code: "event.not_found", Status: http.StatusNotFound, Message: "there is no event at this revision that you may see"}
	}
	d.raw, d.head = raw[0], head
	if err := json.Unmarshal(raw[0], &d.event); err != nil {
		return view{}, err
	}
	d.event.Partition = d.partition
	if next, _, err := r.read(map[string]any{"subject": d.event.name(), "partition": d.partition, "from": revision + 1}); err == nil && len(next) > 0 {
		var e event
		if json.Unmarshal(next[0], &e) == nil {
			d.after = e.Revision
		}
	}
	previous, err := r.previous(&d.event)
	if previous != nil {
		d.before = previous.Revision
	}
	d.checked = check(&d, previous, err)
	return view{title: "Event " + text(revision), nav: "/agents", body: eventPage(r, &d)}, nil
}

// read asks for one event.
func (r *request) read(body map[string]any) (raw []json.RawMessage, head uint64, err error) {
	body["limit"], body["wait_ms"] = 1, 0
	var answer struct {
		Events []json.RawMessage `json:"events"`
		Head   uint64            `json:"head"`
	}
	err = r.ask("events.read", body, &answer)
	return answer.Events, answer.Head, err
}

// commandLines are the command lines of an event: the one that reads it again, and one that
// sends the same once more, where there is one.
func (d *eventData) commandLines(c *Console) (read, again string) {
	body := map[string]any{"from": d.event.Revision, "until": d.event.Revision, "limit": 1}
	if d.partition > 0 {
		body["partition"] = d.partition
	}
	read = c.engineLine("query", "queries.events.read", body)
	verb, fields := "", []string{}
	switch e := &d.event; e.Type {
	case "agent.state_set", "config.set":
		verb, fields = "set", []string{"value"}
	case "agent.state_deleted":
		verb = "delete"
	case "config.unset":
		verb = "unset"
	case "task.created":
		verb, fields = "create", []string{"kind", "payload", "agent_id", "priority", "deadline", "retry"}
	default:
		return read, ""
	}
	var data map[string]json.RawMessage
	if json.Unmarshal(d.event.Data, &data) != nil || data["erased"] != nil {
		return read, ""
	}
	body = map[string]any{}
	if d.event.Key != "" {
		body["key"] = d.event.Key
	}
	for _, name := range fields {
		if v, given := data[name]; given {
			body[name] = v
		}
	}
	return read, c.engineLine("send", "commands."+d.event.Aggregate+"."+d.event.ID+"."+verb, body)
}

func eventTone(kind string) string {
	switch {
	case strings.HasSuffix(kind, "_superseded"), strings.HasSuffix(kind, "_rejected"), strings.HasSuffix(kind, ".failed"), strings.HasSuffix(kind, ".erased"):
		return "bad"
	case strings.HasSuffix(kind, "_deleted"), strings.HasSuffix(kind, ".reverted"), strings.HasSuffix(kind, ".cancelled"):
		return "warn"
	case strings.HasPrefix(kind, "agent.state"):
		return "accent"
	}
	return ""
}

func exportURL(r *request, id string) templ.SafeURL {
	q := url.Values{}
	for _, name := range [...]string{"from", "to"} {
		if v := r.query(name); v != "" {
			q.Set(name, v)
		}
	}
	return pathTo("/agents/"+url.PathEscape(id)+"/timeline.jsonl", q)
}
