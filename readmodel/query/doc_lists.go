package query

import (
	"context"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// filter is a member of a request that a column of a list must equal.
type filter struct {
	column string
	value  func(*request) string // empty = any
	check  func(string) error
}

var (
	byAgent = filter{"agent_id", func(in *request) string { return in.AgentID }, domain.CheckAgentID}
	byKind  = filter{"kind", func(in *request) string { return in.Kind }, func(kind string) error { return domain.CheckID("kind", kind) }}
	byOwner = filter{"owner", func(in *request) string { return in.Owner }, func(owner string) error { return domain.CheckID("owner", owner) }}
)

func byStatus(known ...string) filter {
	return filter{"status", func(in *request) string { return in.Status }, func(status string) error { return oneOf("status", status, known...) }}
}

// docList answers a list of documents of a kind, in the order of their ids, which check
// checks.
func docList(kind string, check func(string) error, filters ...filter) func(*Query, context.Context, string, *request) (*page, error) {
	return func(q *Query, ctx context.Context, _ string, in *request) (*page, error) {
		where := map[string]string{}
		for _, f := range filters {
			value := f.value(in)
			if value == "" {
				continue
			}
			if err := f.check(value); err != nil {
				return nil, err
			}
			where[f.column] = value
		}
		if err := in.cursorAfter(check); err != nil {
			return nil, err
		}
		token, err := q.awaitSQL(ctx, in)
		if err != nil {
			return nil, err
		}
		quarantined, err := q.quarantined(ctx, in, kind+".")
		if err != nil {
			return nil, err
		}
		rows, err := q.Tiers.Durable.Docs(ctx, readmodel.DocList{
			Kind: kind, Only: in.permission.visible(kind), Prefix: in.Prefix, After: in.Cursor, Where: where, Limit: in.limit + 1,
		})
		if err != nil {
			return nil, tiers.Unavailable("sql", err)
		}
		rows, cursor := paginate(rows, in.limit, func(d *readmodel.Doc) (string, int) { return d.ID, len(d.State) })
		return &page{rows: encodeDocs(kind+"s", rows), source: tiers.FromSQL, cursor: cursor, token: token, quarantined: quarantined}, nil
	}
}
