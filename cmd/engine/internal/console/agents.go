package console

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/client"
)

// pageSize is the number of rows of a list, unless the URL has another one.
const pageSize = 50

// limit is the number of rows of a list.
func (r *request) limit() uint64 {
	if n := r.number("limit"); n > 0 {
		return min(n, 200)
	}
	return pageSize
}

// agentRow is an agent in the list.
type agentRow struct {
	ID        string    `json:"agent_id"`
	Phase     string    `json:"phase"`
	Entries   uint64    `json:"entries"`
	Revision  uint64    `json:"revision"`
	UpdatedAt time.Time `json:"updated_at"`

	live *lifecycle // nil = not known
}

// lifecycle is the answer to queries.agent.<id>.lifecycle.
type lifecycle struct {
	Phase     string    `json:"phase"`
	LastSeen  time.Time `json:"last_seen"`
	DirtyKeys uint64    `json:"dirty_keys"`
}

// foundRow is an entry that a search has found.
type foundRow struct {
	Agent     string          `json:"agent_id"`
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Revision  uint64          `json:"revision"`
	Timestamp time.Time       `json:"timestamp"`
}

type agentsData struct {
	agents      []agentRow
	found       []foundRow
	searched    bool // by content
	err         error
	cursor      string
	quarantined []string
}

// agents lists agents by prefix and phase, or entries by content.
func (c *Console) agents(r *request) (view, error) {
	var d agentsData
	if d.searched = r.query("text") != "" || r.query("contains") != ""; d.searched {
		d.err = r.find(&d)
	} else {
		d.err = r.listAgents(&d)
	}
	v := view{title: "Agents", nav: "/agents", body: agentsPage(r, d), live: !d.searched && d.err == nil}
	if d.err != nil {
		v.status = failed(d.err).status
	}
	return v, nil
}

// filters makes a body of the parameters of the URL that are there.
func (r *request) filters(names ...string) map[string]any {
	body := map[string]any{"limit": r.limit()}
	for _, name := range names {
		if v := r.query(name); v != "" {
			body[name] = v
		}
	}
	return body
}

func (r *request) listAgents(d *agentsData) error {
	var answer struct {
		Agents      []agentRow `json:"agents"`
		Cursor      string     `json:"cursor"`
		Quarantined []string   `json:"quarantined"`
	}
	if err := r.ask("agents.list", r.filters("prefix", "phase", "cursor"), &answer); err != nil {
		return err
	}
	d.agents, d.cursor, d.quarantined = answer.Agents, answer.Cursor, answer.Quarantined
	r.addLifecycles(d.agents)
	return nil
}

// lifecyclesAtOnce bounds the questions that run at the same time.
const lifecyclesAtOnce = 8

// addLifecycles adds to each agent when it was last seen and what SQL does not have of it yet.
// After a refusal it asks no further: refusals are recorded.
func (r *request) addLifecycles(agents []agentRow) {
	var running sync.WaitGroup
	var mu sync.Mutex
	refused := false
	places := make(chan struct{}, lifecyclesAtOnce)
	for i := range agents {
		places <- struct{}{}
		mu.Lock()
		stop := refused
		mu.Unlock()
		if stop {
			break
		}
		running.Go(func() {
			defer func() { <-places }()
			var l lifecycle
			err := r.ask("agent."+agents[i].ID+".lifecycle", nil, &l)
			if err == nil {
				agents[i].live = &l
				return
			}
			mu.Lock()
			refused = refused || errors.Is(err, client.ErrForbidden) || errors.Is(err, client.ErrUnavailable)
			mu.Unlock()
		})
	}
	running.Wait()
}

// find searches entries by content.
func (r *request) find(d *agentsData) error {
	body := r.filters("text", "cursor")
	if prefix := r.query("prefix"); prefix != "" {
		body["agent_prefix"] = prefix
	}
	if contains := strings.TrimSpace(r.query("contains")); contains != "" {
		if !json.Valid([]byte(contains)) {
			return invalid("what entries contain must be JSON, as in {\"city\":\"Oslo\"}")
		}
		body["contains"] = json.RawMessage(contains)
	}
	var answer struct {
		Entries []foundRow `json:"entries"`
		Cursor  string     `json:"cursor"`
	}
	if err := r.ask("state.find", body, &answer); err != nil {
		return err
	}
	d.found, d.cursor = answer.Entries, answer.Cursor
	return nil
}
