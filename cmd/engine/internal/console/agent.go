package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
)

// entry is a live entry of an agent, or one of the past.
type entry struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Timestamp time.Time       `json:"timestamp"`
	UpdatedAt time.Time       `json:"updated_at"` // of configuration
	Version   uint64          `json:"version"`
	Revision  uint64          `json:"revision"`
	Erased    bool            `json:"erased"`
}

// at is when an entry was written.
func (e *entry) at() time.Time {
	if e.Timestamp.IsZero() {
		return e.UpdatedAt
	}
	return e.Timestamp
}

// agentData is what the page of an agent shows besides its tab.
type agentData struct {
	id, tab   string
	life      lifecycle
	partition int
	first     uint64 // revision of its first event
	last      uint64 // of its last event
	head      uint64 // of its partition
	point     point
	body      templ.Component
}

// point is a moment of the past; the zero value is now.
type point struct {
	revision uint64
	at       string // RFC 3339
	problem  string // why the one of the URL cannot be read
}

func (p point) past() bool { return p.revision > 0 || p.at != "" }

// into adds the point to the body of a query.
func (p point) into(body map[string]any) map[string]any {
	switch {
	case p.revision > 0:
		body["at_revision"] = p.revision
	case p.at != "":
		body["at_time"] = p.at
	}
	return body
}

// wire is the point as queries take it in from and to.
func (p point) wire() any {
	if p.revision > 0 {
		return p.revision
	}
	return p.at
}

// into of a command: to_revision or to_time.
func (p point) intoCommand(body map[string]any, revision, at string) {
	if p.revision > 0 {
		body[revision] = p.revision
	} else {
		body[at] = p.at
	}
}

func (p point) String() string {
	if p.revision > 0 {
		return "revision " + text(p.revision)
	}
	return p.at
}

// pointOf reads the parameters revision and time. A time without a zone, as browsers send it, is UTC.
func pointOf(q url.Values) (p point) {
	if s := strings.TrimSpace(q.Get("revision")); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n == 0 {
			p.problem = s + " is not a revision"
		}
		p.revision = n
		return p
	}
	s := strings.TrimSpace(q.Get("time"))
	if s == "" {
		return p
	}
	for _, form := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04"} {
		if t, err := time.Parse(form, s); err == nil {
			p.at = t.UTC().Format(time.RFC3339Nano)
			return p
		}
	}
	p.problem = s + " is not a time like 2026-01-31T12:00:00Z"
	return p
}

// tabs of the page of an agent.
var tabs = []link{{"", "State"}, {"timeline", "Timeline"}, {"tasks", "Tasks"}, {"messages", "Messages"}, {"config", "Configuration"}}

func (c *Console) agent(r *request) (view, error) {
	d := agentData{id: r.PathValue("id"), tab: r.query("tab"), point: pointOf(r.URL.Query())}
	if err := r.ask("agent."+d.id+".lifecycle", nil, &d.life); err != nil {
		return view{}, err
	}
	if err := r.bounds(&d); err != nil {
		return view{}, err
	}
	var err error
	switch d.tab {
	case "":
		d.body, err = r.stateTab(&d)
	case "timeline":
		d.body, err = r.timelineTab(&d)
	case "tasks":
		d.body, err = r.tasksTab(&d)
	case "messages":
		d.body, err = r.messagesTab(&d)
	case "config":
		d.body, err = r.configTab(&d)
	default:
		return view{title: "Not found", nav: "/agents", body: message("There is no such tab.", ""), status: http.StatusNotFound}, nil
	}
	status := 0
	if err != nil {
		d.body, status = failure(err), failed(err).status
	}
	return view{title: d.id, nav: "/agents", body: agentPage(r, &d), live: true, status: status}, nil
}

// bounds asks for the first revision of an agent and for the head of its partition.
func (r *request) bounds(d *agentData) error {
	var answer struct {
		Events []struct {
			Revision uint64 `json:"revision"`
		} `json:"events"`
		Head  uint64 `json:"head"`
		Token string `json:"token"`
	}
	body := map[string]any{"subject": "agent." + d.id + ".>", "limit": 1, "wait_ms": 0}
	if err := r.ask("events.read", body, &answer); err != nil {
		return err
	}
	d.head, d.partition = answer.Head, partitionIn(answer.Token)
	if len(answer.Events) > 0 {
		d.first = answer.Events[0].Revision
	}
	return nil
}

// partitionIn is the partition of a token of one partition.
func partitionIn(token string) int {
	_, rest, _ := strings.Cut(token, ".")
	p, _, _ := strings.Cut(rest, "-")
	n, _ := strconv.Atoi(p) // 0
	return n
}

func entryURL(agent, key string) templ.SafeURL {
	return pathTo("/agents/"+url.PathEscape(agent), url.Values{"key": {key}})
}
