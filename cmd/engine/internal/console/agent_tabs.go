package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/a-h/templ"

	"github.com/tidemark-engine/tidemark/client"
)

type timelinePage struct {
	Events []event `json:"events"`
	Cursor string  `json:"cursor"`
}

// timelineBody has the filters of the URL; from and to are revisions or times.
func timelineBody(r *request) (map[string]any, error) {
	body := map[string]any{"limit": r.limit()}
	for _, name := range [...]string{"from", "to"} {
		s := r.query(name)
		if s == "" {
			continue
		}
		p := pointOf(url.Values{"revision": {s}})
		if p.problem != "" {
			p = pointOf(url.Values{"time": {s}})
		}
		if p.problem != "" {
			return nil, invalid(name + ": " + s + " is neither a revision nor a time like 2026-01-31T12:00:00Z")
		}
		body[name] = p.wire()
	}
	if c := r.query("cursor"); c != "" {
		body["cursor"] = c
	}
	return body, nil
}

func (r *request) timelineTab(d *agentData) (templ.Component, error) {
	body, err := timelineBody(r)
	if err != nil {
		return nil, err
	}
	var page timelinePage
	if err := r.ask("agent."+d.id+".timeline", body, &page); err != nil {
		return nil, err
	}
	return timelineTab(r, d, page), nil
}

// exportPage is the number of events that the export asks for at once.
const exportPage = 500

// export sends the timeline of an agent as JSON lines, newest first.
func (c *Console) export(w http.ResponseWriter, hr *http.Request) {
	r, ok := c.enter(w, hr)
	if !ok {
		return
	}
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		c.refuse(w, hr, http.StatusServiceUnavailable, "Too much is being exported or watched. Please try again later.")
		return
	}
	id := r.PathValue("id")
	body, err := timelineBody(r)
	if err != nil {
		c.render(w, r, failed(err))
		return
	}
	body["limit"] = exportPage
	out := http.NewResponseController(w)
	for first := true; ; first = false {
		var page struct {
			Events []json.RawMessage `json:"events"`
			Cursor string            `json:"cursor"`
		}
		if err := r.ask("agent."+id+".timeline", body, &page); err != nil {
			if first {
				c.render(w, r, failed(err))
				return
			}
			panic(http.ErrAbortHandler) // the browser must not take the file for a complete one
		}
		if first {
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "timeline-"+id+".jsonl"))
		}
		_ = out.SetWriteDeadline(time.Now().Add(liveWrite)) // of each page: the server's limit is for whole answers
		for _, line := range page.Events {
			if _, err := w.Write(append(line, '\n')); err != nil {
				return
			}
		}
		if page.Cursor == "" || c.closing.Err() != nil {
			return
		}
		body["cursor"] = page.Cursor
	}
}

// taskRow is a task of an agent.
type taskRow struct {
	ID        string    `json:"task_id"`
	Kind      string    `json:"kind"`
	Status    string    `json:"status"`
	Attempts  uint64    `json:"attempts"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func (r *request) tasksTab(d *agentData) (templ.Component, error) {
	var page struct {
		Tasks  []taskRow `json:"tasks"`
		Cursor string    `json:"cursor"`
	}
	body := r.filters("status", "cursor")
	body["agent_id"] = d.id
	if err := r.ask("tasks.list", body, &page); err != nil {
		return nil, err
	}
	return tasksTab(r, d, page.Tasks, page.Cursor), nil
}

// messageRow is a message in an inbox.
type messageRow struct {
	ID     string          `json:"message_id"`
	Kind   string          `json:"kind"`
	From   string          `json:"from"`
	Body   json.RawMessage `json:"body"`
	SentAt time.Time       `json:"sent_at"`
	Read   bool            `json:"read"`
}

type inbox struct {
	Messages []messageRow `json:"messages"`
	Unread   uint64       `json:"unread"`
	Cursor   string       `json:"cursor"`
}

func (r *request) messagesTab(d *agentData) (templ.Component, error) {
	var page inbox
	body := r.filters("kind", "cursor")
	if r.query("unread") != "" {
		body["unread"] = true
	}
	if err := r.ask("message."+d.id+".inbox", body, &page); err != nil {
		return nil, err
	}
	return messagesTab(r, page), nil
}

func (r *request) configTab(d *agentData) (templ.Component, error) {
	var page entriesPage
	err := r.ask("config."+d.id+".entries", d.point.into(r.filters("prefix", "cursor")), &page)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return nil, err
	}
	return configTab(r, d, page), nil
}
