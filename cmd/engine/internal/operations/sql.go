package operations

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/infra/pg/adhoc"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/internal/grants"
)

// reader is who runs the SQL of people. A statement sees the rows of all agents, so only a
// caller who may ask everything may run one; the role that runs it sees nothing else.
func (o *Operations) reader(who console.Caller) (*adhoc.Reader, error) {
	if err := o.ready(); err != nil {
		return nil, err
	}
	if err := o.readsAll(who); err != nil {
		return nil, err
	}
	e := o.e.Load()
	if e.Stores.DB == nil {
		return nil, errNoSQL
	}
	url := o.cfg.Reader
	if e.Managed != nil {
		url = e.Managed.ConsoleURL()
	}
	if url == "" {
		return nil, console.Unavailable("sql.no_reader", "The engine has no login that can only read. Make one in PostgreSQL, CREATE ROLE tidemark_console LOGIN PASSWORD '…', and start the engine with --console-postgres and its URL")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sql == nil || e.Managed != nil { // a restarted server has a new password
		r, err := adhoc.New(e.Stores.DB, url)
		if err != nil {
			return nil, err
		}
		o.sql = r
	}
	return o.sql, nil
}

// readsAll fails unless the caller may ask every query about everything. No other grants add
// up to it: each row would have to be compared.
func (o *Operations) readsAll(who console.Caller) error {
	set := o.grants(who)
	if set.Unrestricted() {
		return nil
	}
	for _, g := range set.Grants() {
		if g.Kind == grants.Query && g.Aggregate == "*" && g.ID == "*" && (g.Key == "" || g.Key == "*") && len(g.Verbs) == 0 && !g.Holder {
			return nil
		}
	}
	return o.allowed(who, grants.Action{Kind: grants.Query, Aggregate: "*", ID: "*", Verb: "*"})
}

// Tables implements console.Operations.
func (o *Operations) Tables(ctx context.Context, who console.Caller) (all []console.Table, err error) {
	r, err := o.reader(who)
	if err != nil {
		return nil, err
	}
	tables, err := r.Tables(ctx)
	for _, t := range tables {
		all = append(all, console.Table{Name: t.Name, Rows: t.Rows, Columns: columns(t.Columns)})
	}
	return all, sqlProblem(err)
}

func columns(of []adhoc.Column) (all []console.SQLColumn) {
	for _, c := range of {
		all = append(all, console.SQLColumn(c))
	}
	return all
}

// SQL implements console.Operations.
func (o *Operations) SQL(ctx context.Context, who console.Caller, statement string) (*console.Rows, error) {
	r, err := o.reader(who)
	if err != nil {
		return nil, err
	}
	got, err := r.Run(ctx, statement)
	if err != nil {
		return nil, console.Rejected("sql.failed", err.Error())
	}
	return &console.Rows{Columns: columns(got.Columns), Rows: got.Rows, More: got.More, Took: got.Took}, nil
}

// maxConflictPages bounds the pages that are read to fill one that a caller may see.
const maxConflictPages = 20

// Conflicts implements console.Operations.
func (o *Operations) Conflicts(ctx context.Context, who console.Caller, agent, cursor string, limit int) (some []console.Conflict, next string, err error) {
	if err := o.ready(); err != nil {
		return nil, "", err
	}
	set := o.grants(who)
	if set == nil {
		return nil, "", o.allowed(who, grants.Action{Kind: grants.Query, Aggregate: "agent", ID: "*", Verb: "history"})
	}
	if o.e.Load().Stores.DB == nil {
		return nil, "", errNoSQL
	}
	before, err := conflictCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	rows := durable.NewRows(o.e.Load().Stores.DB)
	for range maxConflictPages {
		page, err := rows.Conflicts(ctx, agent, before, limit+1)
		if err != nil {
			return nil, "", sqlProblem(err)
		}
		more := len(page) > limit
		page = page[:min(len(page), limit)]
		for i := range page {
			c := &page[i]
			if len(some) == limit {
				return some, next, nil
			}
			before = &durable.ConflictCursor{RecordedAt: c.RecordedAt, Agent: c.Agent, Key: c.Key, Version: c.Version}
			next = cursorOf(before)
			if ok, _ := set.Allows(grants.Action{Kind: grants.Query, Aggregate: "agent", ID: c.Agent, Verb: "history", Key: c.Key}); ok {
				some = append(some, o.conflict(c))
			}
		}
		if !more {
			return some, "", nil
		}
		if len(some) == limit {
			break
		}
	}
	return some, next, nil
}

func (o *Operations) conflict(c *durable.Conflict) console.Conflict {
	out := console.Conflict{
		Agent: c.Agent, Key: c.Key, Number: c.Version, Kind: c.Kind, Verb: c.Verb, Strategy: c.Strategy, Reason: c.Reason,
		At: c.Timestamp, RecordedAt: c.RecordedAt, Writer: c.Writer, CommandID: c.CommandID,
		AgainstVersion: c.CurrentVersion, AgainstRevision: c.CurrentRevision, Partition: o.e.Load().Stores.Journal.Partition(c.Agent),
	}
	if c.Value != nil {
		out.Value = json.RawMessage(*c.Value)
	}
	return out
}

func cursorOf(c *durable.ConflictCursor) string {
	text, _ := json.Marshal(c) // it never fails
	return base64.RawURLEncoding.EncodeToString(text)
}

func conflictCursor(text string) (*durable.ConflictCursor, error) {
	if text == "" {
		return nil, nil
	}
	c := &durable.ConflictCursor{}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, c)
	}
	if err != nil {
		return nil, console.Rejected("cursor.invalid", "The cursor is not one of this list")
	}
	return c, nil
}
