package query

import (
	"cmp"
	"context"
	"strings"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// Bounds of what stateFind looks for, in bytes.
const (
	maxFindText = 1 << 10
	maxFindPath = 4 << 10
)

// stateFind lists entries by their content. Only SQL can answer it.
func (q *Query) stateFind(ctx context.Context, _ string, in *request) (*page, error) {
	find, err := q.find(in)
	if err != nil {
		return nil, err
	}
	token, err := q.awaitSQL(ctx, in)
	if err != nil {
		return nil, err
	}
	quarantined, err := q.quarantined(ctx, in, "agent.")
	if err != nil {
		return nil, err
	}
	reading, stop := context.WithTimeout(ctx, max(in.wait(), defaultWait))
	defer stop()
	set := in.permission.set
	shows := func(e *readmodel.Entry) bool {
		ok, _ := set.Allows(grants.Action{Kind: grants.Query, Aggregate: "agent", ID: e.Agent, Verb: "get", Key: e.Key})
		return ok
	}
	var rows []readmodel.Entry
	var room readmodel.PageRoom
	for full := false; !full; {
		more, err := q.Tiers.Durable.Find(reading, find)
		if err != nil {
			return nil, tiers.Unavailable("sql", err)
		}
		full = len(more) == 0
		for i := range more {
			find.AfterAgent, find.AfterKey = more[i].Agent, more[i].Key
			if !shows(&more[i]) {
				continue
			}
			rows = append(rows, more[i])
			if full = room.Add(len(more[i].Value)) || len(rows) > in.limit; full {
				break
			}
		}
	}
	rows, cursor := paginate(rows, in.limit, func(e *readmodel.Entry) (string, int) { return e.Agent + "." + e.Key, len(e.Value) })
	return &page{rows: encodeEntries(rows), source: tiers.FromSQL, cursor: cursor, token: token, quarantined: quarantined}, nil
}

// find checks what a request looks for.
func (q *Query) find(in *request) (find readmodel.EntryFind, err error) {
	if q.Search == nil {
		return find, domain.Errorf(domain.Rejected, "search.off", "this engine does not search state: start it with --search, or --search PREFIX for some keys")
	}
	find = readmodel.EntryFind{
		In: q.Search, AgentPrefix: in.AgentPrefix, Agents: in.permission.found(), KeyPrefix: in.KeyPrefix,
		Contains: in.Contains, Path: in.Path, Text: in.Text, Limit: in.limit + 1,
	}
	if in.Key != nil {
		if err := domain.CheckKey(*in.Key); err != nil {
			return find, err
		}
		find.Key = *in.Key
	}
	switch {
	case len(in.AgentPrefix) > domain.MaxID:
		return find, domain.Errorf(domain.Invalid, "agent_prefix.invalid", "agent_prefix must have at most %d bytes", domain.MaxID)
	case len(in.KeyPrefix) > domain.MaxKey:
		return find, domain.Errorf(domain.Invalid, "key_prefix.invalid", "key_prefix must have at most %d bytes", domain.MaxKey)
	case len(in.Path) > maxFindPath:
		return find, domain.Errorf(domain.Invalid, "path.invalid", "path must have at most %d bytes", maxFindPath)
	case len(in.Text) > maxFindText:
		return find, domain.Errorf(domain.Invalid, "text.invalid", "text must have at most %d bytes", maxFindText)
	}
	if named := cmp.Or(find.Key, find.KeyPrefix); named != "" && !q.Search.Covers(named) {
		return find, domain.Errorf(domain.Rejected, "search.off", "this engine searches only keys with the prefixes %s (--search)", strings.Join(q.Search.Prefixes, ", "))
	}
	if in.Cursor != "" {
		var ok bool
		find.AfterAgent, find.AfterKey, ok = strings.Cut(in.Cursor, ".")
		if !ok || domain.CheckAgentID(find.AfterAgent) != nil || domain.CheckKey(find.AfterKey) != nil {
			return find, badCursor(in.Cursor)
		}
	}
	return find, nil
}
