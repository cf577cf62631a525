package query

import (
	"context"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/wildcard"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Authority decides what the sender of a query, which is in its context, may read.
type Authority interface {
	// Grants are the grants in force of the sender; another Set after each change of them.
	Grants(ctx context.Context) *grants.Set
	// Refuse returns 403 forbidden, which names the missing grant, and counts it.
	Refuse(ctx context.Context, missing grants.Grant) error
}

// permission is what the sender of one query may read.
type permission struct {
	Authority
	set    *grants.Set
	action grants.Action
	holder bool // only if the sender holds the task or the claim
}

// permit decides about the query noun.name of an id, before its body is read.
func (q *Query) permit(ctx context.Context, name, id string) (*permission, error) {
	p := &permission{Authority: q.Authority, set: grants.Unrestricted()}
	if q.Authority == nil {
		return p, nil
	}
	p.set = p.Grants(ctx)
	if p.set.Unrestricted() {
		return p, nil
	}
	noun, verb := grants.QueryName(name)
	scope, known := grants.ScopeOf(grants.Query, noun, verb)
	p.action = grants.Action{Kind: grants.Query, Aggregate: noun, ID: id, Verb: verb, AnyKey: scope == grants.ByKey}
	switch {
	case known && (scope == grants.Own || scope == grants.Open):
		return p, nil
	case noun == "events":
		if !p.set.Events() {
			_, missing := (*grants.Set)(nil).Decide(p.action)
			return nil, p.Refuse(ctx, missing)
		}
		return p, nil
	case known && scope == grants.List:
		shown := p.set.Filter(noun)
		if verb == "find" {
			shown = p.set.Found()
		}
		if shown.Empty() {
			_, missing := (*grants.Set)(nil).Decide(p.action)
			return nil, p.Refuse(ctx, missing)
		}
		return p, nil
	}
	verdict, missing := p.set.Decide(p.action)
	if verdict == grants.No {
		return nil, p.Refuse(ctx, missing)
	}
	p.holder = verdict == grants.IfHolder
	return p, nil
}

// key decides about the key that the body names.
func (p *permission) key(ctx context.Context, in *request) error {
	if p.set.Unrestricted() || !p.action.AnyKey || in.Key == nil {
		return nil
	}
	a := p.action
	a.AnyKey, a.Key = false, *in.Key
	if ok, missing := p.set.Allows(a); !ok {
		return p.Refuse(ctx, missing)
	}
	return nil
}

// holder decides about a task or a claim that only its holder may read.
func (q *Query) holder(ctx context.Context, p *permission, id string) error {
	if !p.holder {
		return nil
	}
	kind := p.action.Aggregate
	d, found, _, err := q.Rows.LastDoc(ctx, kind, id, "")
	if err != nil {
		return domain.Errorf(domain.Unavailable, "journal.unavailable", "%s %s cannot be read: %s", kind, id, domain.PublicText(err))
	}
	if found && p.holds(&d) {
		return nil
	}
	_, missing := p.set.Decide(p.action)
	return p.Refuse(ctx, missing)
}

// holds reports whether the sender holds a task or a claim in its state: a task that is
// assigned to no agent is for every agent, a claim of no owner for none.
func (p *permission) holds(d *readmodel.Doc) bool {
	agent, err := agentOf(d)
	if d.Kind == readmodel.KindClaim && agent == "" {
		return false
	}
	return err == nil && p.set.Holds(agent)
}

// visible is what a list may show; nil = everything.
func (p *permission) visible(noun string) *readmodel.Visible {
	f := p.set.Filter(noun)
	if f.All {
		return nil
	}
	return &readmodel.Visible{IDs: f.IDs, Agents: f.Agents}
}

// found are the patterns of the agents whose entries a search may show; nil = every agent.
func (p *permission) found() []string {
	f := p.set.Found()
	if f.All {
		return nil
	}
	return f.IDs
}

// keys reports whether a page of entries may show a key; nil = every one.
func (p *permission) keys(id string) func(key string) bool {
	patterns, all := p.set.Keys(p.action.Aggregate, id, p.action.Verb)
	if all {
		return nil
	}
	return func(key string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool { return wildcard.Match(pattern, key) })
	}
}

// cacheName separates the answers for different permissions.
func (p *permission) cacheName() string {
	if p.set.Unrestricted() {
		return ""
	}
	var b strings.Builder
	for _, g := range p.set.Grants() {
		b.WriteString("\n" + g.String())
	}
	return b.String() + "\n" + p.set.Agents()
}

// narrow is the longest prefix that all visible names with a prefix have; ok is false
// when there is none.
func narrow(prefix string, v *readmodel.Visible) (longer string, ok bool) {
	if v == nil || len(v.Agents) > 0 {
		return prefix, true
	}
	common, first := "", true
	for _, pattern := range v.IDs {
		literal, _, _ := strings.Cut(pattern, "*")
		if !strings.HasPrefix(literal, prefix) && !strings.HasPrefix(prefix, literal) {
			continue // no name has both
		}
		if first {
			common, first = literal, false
		}
		for !strings.HasPrefix(literal, common) {
			common = common[:len(common)-1]
		}
	}
	if len(common) < len(prefix) {
		common = prefix
	}
	return common, !first
}

// onlyKeys leaves out the keys that a page may not show, before their rows are read.
func onlyKeys[R any](shows func(key string) bool, living func(keys []string) ([]R, uint64, error)) func(keys []string) ([]R, uint64, error) {
	if shows == nil {
		return living
	}
	return func(keys []string) ([]R, uint64, error) {
		return living(slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !shows(key) }))
	}
}

// onlyRows reads rows until it has limit of them that a page may show, or the page is
// full.
func onlyRows[R any](shows func(key string) bool, after string, limit int, row func(*R) (key string, size int),
	read func(after string) ([]R, error)) (rows []R, err error) {
	if shows == nil {
		return read(after)
	}
	var room readmodel.PageRoom
	for {
		more, err := read(after)
		if err != nil || len(more) == 0 {
			return rows, err
		}
		for i := range more {
			key, size := row(&more[i])
			if after = key; !shows(key) {
				continue
			}
			if rows = append(rows, more[i]); room.Add(size) || len(rows) == limit {
				return rows, nil
			}
		}
	}
}

// agentOf is the agent that a task is assigned to, empty = no agent; or the owner of a
// claim.
func agentOf(d *readmodel.Doc) (string, error) {
	var state struct {
		AgentID string `json:"agent_id"`
		Owner   string `json:"owner"`
	}
	err := json.Unmarshal(d.State, &state)
	if d.Kind == readmodel.KindClaim {
		return state.Owner, err
	}
	return state.AgentID, err
}
