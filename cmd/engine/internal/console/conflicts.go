package console

import (
	"encoding/json"
	"strings"
)

// conflictRow is a losing write, with the value that it lost against.
type conflictRow struct {
	Conflict
	against json.RawMessage // nil = not known
	gone    bool            // the entry was deleted at that version
}

// conflictRows bounds a page: each row asks for the value that it lost against.
const conflictRows = 25

// conflicts shows losing writes with what they lost against.
func (c *Console) conflicts(r *request) (view, error) {
	agent := strings.TrimSpace(r.query("agent"))
	some, next, err := c.cfg.Operations.Conflicts(r.Context(), r.caller(), agent, r.query("cursor"), conflictRows)
	if err != nil {
		return view{}, err
	}
	rows := make([]conflictRow, len(some))
	for i := range some {
		rows[i] = conflictRow{Conflict: some[i]}
		rows[i].look(r)
	}
	return view{title: "Conflicts", nav: "/conflicts", body: conflictsPage(r, rows, next, agent), live: r.query("cursor") == ""}, nil
}

// look asks what the entry was when the write lost. Without an answer the row shows the
// version alone: the event may be erased, or not readable for this session.
func (row *conflictRow) look(r *request) {
	if row.AgainstRevision == 0 {
		row.gone = true
		return
	}
	var entry struct {
		Value json.RawMessage `json:"value"`
	}
	err := r.ask("agent."+row.Agent+".get", map[string]any{"key": row.Key, "at_revision": row.AgainstRevision}, &entry)
	if err == nil {
		row.against = entry.Value
	} else if e := wireError(err); e != nil && e.Status == 404 {
		row.gone = true
	}
}
