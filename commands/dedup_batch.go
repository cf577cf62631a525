package commands

import (
	"cmp"
	"context"

	"github.com/tidemark-engine/tidemark/domain"
)

// dedup answers a batch whose commands took effect before; nil = none did.
// Commands that were unchanged the first time must be so again. If a command
// would take effect only now, this is not the same batch: 409
// command.id_reused.
func (b *batchAttempt) dedup(ctx context.Context, cmds []Command, unsure bool) ([]Result, error) {
	results, found := make([]Result, len(cmds)), 0
	var missing []int
	for i := range cmds {
		cmd := &cmds[i]
		last, err := b.load(ctx, cmd.Name, cmd.fold)
		if err != nil {
			return nil, indexed(err, i)
		}
		var ok bool
		if results[i].Receipt, ok, err = b.h.dedup(ctx, cmd, last, b.now, unsure); (ok || err != nil) && cmd.guard != nil {
			err = cmp.Or(cmd.guard(last.state), err) // who may not act does not learn of the id either
		}
		if err != nil {
			return nil, indexed(err, i)
		}
		if ok {
			found++
		} else {
			missing = append(missing, i)
		}
	}
	switch {
	case found == 0:
		return nil, nil
	case len(missing) > 0 && !unsure:
		return b.dedup(ctx, cmds, true) // search for those that the window covers, too
	}
	for _, i := range missing {
		cmd, last := &cmds[i], b.heads[cmds[i].Name]
		if err := cmd.lookUp(ctx, b.h); err != nil {
			return nil, indexed(unavailable(err, false), i)
		}
		d := cmd.decide(last.state, domain.Metadata{Now: b.now, CommandID: cmd.CommandID, Actor: cmd.actor, Revision: last.revision, Version: last.version})
		if d.Outcome != domain.Unchanged {
			return nil, domain.Errorf(domain.Conflict, "command.id_reused",
				"%d of the batch's %d command ids took effect before, outside of this batch", found, len(cmds)).With("index", i)
		}
		results[i].Receipt = b.h.receipt(cmd, d.Outcome, last.version, last.revision)
	}
	return results, nil
}
