package commands

import (
	"context"
	"slices"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// checkErased refuses to revert an agent to a point before an erasure, before anything is
// changed: 422 state.erased.
func (r *revertRun) checkErased(ctx context.Context, names []events.AggregateName) error {
	if r.h.cfg.Keys == nil || r.before || r.begun > 0 {
		return nil
	}
	erased := false
	err := r.h.cfg.Past.Of(ctx, r.cmd.Name, r.moment.Revision, 0, func(m history.Message) error {
		erased = erased || m.Type == events.Erased && !r.moment.Includes(&m.Record)
		return m.Bad
	})
	if err != nil || !erased {
		return err
	}
	for some := range slices.Chunk(names, revertChunk) {
		recs, err := r.h.cfg.Past.ManyAsOf(ctx, r.pattern, some, r.moment)
		for i := range recs {
			if err == nil {
				err = r.restore(&agent.Write{Agent: r.agent, Key: recs[i].Key}, &recs[i], true)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare returns the writes of the entries that differ from what they were.
func (r *revertRun) compare(ctx context.Context, names []events.AggregateName) (differing []agent.Write, err error) {
	past := r.h.cfg.Past
	ends, err := past.Ends(ctx, names, history.Bound{}, history.Linearizable)
	if err != nil {
		return nil, err
	}
	var open []events.AggregateName
	now := map[events.AggregateName]*events.Record{}
	for i := range ends {
		m := &ends[i]
		if m.Bad != nil {
			return nil, m.Bad
		}
		if m.Exists() && !r.done[m.Name] && (r.before || !r.moment.Includes(&m.Record)) {
			now[m.Name], open = &m.Record, append(open, m.Name)
		}
	}
	if open, err = r.known(ctx, open, now); err != nil {
		return nil, err
	}
	then := map[events.AggregateName]*events.Record{}
	if !r.before {
		recs, err := past.ManyAsOf(ctx, r.pattern, open, r.moment)
		if err != nil {
			return nil, err
		}
		for i := range recs {
			then[recs[i].Name] = &recs[i]
		}
	}
	for _, name := range open {
		w := agent.Write{Agent: r.agent, Key: now[name].Key, Request: r.request}
		if err := r.restore(&w, then[name], then[name] != nil); err != nil {
			return nil, err
		}
		entry, err := agent.EvolveEntry(agent.Entry{}, &now[name].Event)
		if err != nil {
			return nil, err
		}
		if d := agent.DecideEntry(entry, w, domain.Metadata{Now: r.h.cfg.Now()}); d.Outcome != domain.Unchanged {
			differing = append(differing, w)
		}
	}
	return differing, nil
}

// known leaves out the entries that did not exist yet when the revert began.
func (r *revertRun) known(ctx context.Context, names []events.AggregateName, now map[events.AggregateName]*events.Record) ([]events.AggregateName, error) {
	if r.begun == 0 {
		return names, nil
	}
	later := slices.DeleteFunc(slices.Clone(names), func(n events.AggregateName) bool { return now[n].Revision < r.begun })
	old, err := r.h.cfg.Past.ManyAsOf(ctx, r.pattern, later, history.Moment{Revision: r.begun})
	if err != nil {
		return nil, err
	}
	existed := map[events.AggregateName]bool{}
	for i := range old {
		existed[old[i].Name] = true
	}
	return slices.DeleteFunc(names, func(n events.AggregateName) bool { return now[n].Revision >= r.begun && !existed[n] }), nil
}
