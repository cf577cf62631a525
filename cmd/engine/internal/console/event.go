package console

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/client"
)

// event is an event, as queries show it.
type event struct {
	Type        string          `json:"type"`
	Aggregate   string          `json:"aggregate"`
	ID          string          `json:"id"`
	Key         string          `json:"key"`
	Version     uint64          `json:"version"`
	Timestamp   time.Time       `json:"timestamp"`
	RecordedAt  time.Time       `json:"recorded_at"`
	Writer      string          `json:"writer"`
	Actor       string          `json:"actor"`
	CommandID   string          `json:"command_id"`
	Traceparent string          `json:"traceparent"`
	Data        json.RawMessage `json:"data"`
	State       json.RawMessage `json:"state"`
	Digest      string          `json:"digest"`
	Schema      int             `json:"schema"`
	Revision    uint64          `json:"revision"`
	Partition   int             `json:"partition"`
	Unreadable  string          `json:"unreadable"` // of a timeline: the aggregate
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

// digestCheck is what the digest of an event says.
type digestCheck struct {
	word string // match, differs, not checked
	why  string
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

// previous is the event before another one in its aggregate; nil = there is none.
func (r *request) previous(e *event) (*event, error) {
	if e.Version <= 1 && e.Aggregate != "agent" {
		return nil, nil
	}
	if e.Aggregate == "agent" { // also its lifecycle and lost writes, which have no history of their own
		return r.previousOfAgent(e)
	}
	body := map[string]any{"limit": 1, "cursor": text(e.Revision)}
	if e.Key != "" {
		body["key"] = e.Key
	}
	var answer struct {
		Versions []event `json:"versions"`
	}
	if err := r.ask(e.Aggregate+"."+e.ID+".history", body, &answer); err != nil || len(answer.Versions) == 0 {
		return nil, err
	}
	return &answer.Versions[0], nil
}

var errFarBack = errors.New("the event before it is far back")

// maxBack bounds the events of an agent that are read to find one of an aggregate.
const maxBack = 2000

func (r *request) previousOfAgent(e *event) (*event, error) {
	if e.Key != "" && !e.lost() {
		var answer struct {
			Versions []event `json:"versions"`
		}
		err := r.ask("agent."+e.ID+".history", map[string]any{"key": e.Key, "limit": 1, "cursor": text(e.Revision)}, &answer)
		if err != nil || len(answer.Versions) == 0 {
			return nil, err
		}
		return &answer.Versions[0], nil
	}
	if e.Version <= 1 {
		return nil, nil
	}
	body := map[string]any{"to": e.Revision - 1, "limit": 500}
	for seen := 0; seen < maxBack; {
		var page timelinePage
		if err := r.ask("agent."+e.ID+".timeline", body, &page); err != nil {
			return nil, err
		}
		for i := range page.Events {
			if one := &page.Events[i]; one.Partition == e.Partition && one.Unreadable == "" && one.name() == e.name() {
				return one, nil
			}
		}
		if page.Cursor == "" {
			return nil, nil
		}
		seen += max(len(page.Events), 100)
		body["cursor"] = page.Cursor
	}
	return nil, errFarBack
}

// check computes the digest of an event: SHA-256 over the digest before it and the RFC 8785
// form of the event without its digest.
func check(d *eventData, previous *event, err error) digestCheck {
	switch {
	case err != nil:
		return digestCheck{"not checked", "the event before it cannot be read: " + err.Error()}
	case previous == nil && d.event.Version > 1:
		return digestCheck{"not checked", "the event before it is not there any more"}
	}
	before := ""
	if previous != nil {
		before = previous.Digest
	}
	form, err := digested(d.raw)
	if err != nil {
		return digestCheck{"not checked", err.Error()}
	}
	sum := sha256.Sum256(append([]byte(before), form...))
	if hex.EncodeToString(sum[:]) == d.event.Digest {
		return digestCheck{"match", "computed from this event and the digest of the one before it"}
	}
	if previous == nil && d.event.Version == 1 || previous != nil {
		return digestCheck{"differs", "encrypted content is shown decrypted and cannot be checked here; engine verify compares what is stored"}
	}
	return digestCheck{"not checked", ""}
}

// digested is the RFC 8785 form of an event as it is stored, without its digest. Revision is
// a member of the answer alone.
func digested(raw json.RawMessage) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	delete(members, "digest")
	delete(members, "revision")
	form, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	v := jsontext.Value(form)
	if err := v.Canonicalize(); err != nil {
		return nil, err
	}
	return v, nil
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
