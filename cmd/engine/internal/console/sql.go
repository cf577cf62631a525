package console

import "strings"

// ready are queries to begin with.
var ready = []struct{ title, sql string }{
	{"Newest entries", "SELECT agent_id, state_key, state_text, version, timestamp\nFROM state ORDER BY timestamp DESC LIMIT 50"},
	{"Entries by agent", "SELECT agent_id, count(*) AS entries, max(timestamp) AS last_write\nFROM state GROUP BY agent_id ORDER BY entries DESC LIMIT 50"},
	{"Tasks by kind and status", "SELECT kind, status, count(*) AS tasks, min(created_at) AS oldest\nFROM tasks GROUP BY kind, status ORDER BY kind, status"},
	{"Tasks that failed", "SELECT task_id, kind, agent_id, attempts, reason, detail, finished_at\nFROM tasks WHERE status = 'failed' ORDER BY finished_at DESC LIMIT 50"},
	{"Agents by phase", "SELECT phase, count(*) AS agents, min(since) AS longest_since\nFROM lifecycle GROUP BY phase ORDER BY agents DESC"},
	{"Losing writes by entry", "SELECT agent_id, state_key, kind, count(*) AS lost, max(recorded_at) AS last\nFROM conflicts GROUP BY agent_id, state_key, kind ORDER BY lost DESC LIMIT 50"},
	{"Events of the last hour", "SELECT type, count(*) AS events\nFROM events WHERE recorded_at > now() - interval '1 hour' GROUP BY type ORDER BY events DESC"},
	{"Size of the tables", "SELECT relname AS name, pg_size_pretty(pg_total_relation_size(c.oid)) AS size, greatest(reltuples, 0)::bigint AS rows\nFROM pg_class c WHERE relkind = 'r' AND relnamespace = 'agents'::regnamespace ORDER BY pg_total_relation_size(c.oid) DESC"},
}

// sqlData is what the page of SQL shows.
type sqlData struct {
	statement string
	tables    []Table
	rows      *Rows
	err       error // of the statement
}

// sql runs the statement in the URL, so that a link restores what it shows. It can only read.
func (c *Console) sql(r *request) (view, error) {
	d := sqlData{statement: strings.TrimSpace(strings.ReplaceAll(r.query("q"), "\r\n", "\n"))}
	var err error
	if d.tables, err = c.cfg.Operations.Tables(r.Context(), r.caller()); err != nil {
		return view{}, err
	}
	if d.statement != "" && sameSite(r) {
		d.rows, d.err = c.cfg.Operations.SQL(r.Context(), r.caller(), d.statement)
	}
	return view{title: "SQL", nav: "/sql", body: sqlPage(r, d)}, nil
}

// sameSite reports whether a page was asked for by this console or by its reader, not by
// another site, which could make the reader's browser run long statements.
func sameSite(r *request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}
