package declared

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel/declared"
)

// messages are the rows of sent messages, each once, and the agents that were erased. A
// message stays what it is, so that one in quarantine hides no earlier one.
func (t *Target) messages(recs []*events.Record) (all []declared.Change, erased []string, err error) {
	at := make(map[string]int, len(recs))
	for _, rec := range recs {
		if rec.Type == events.Erased {
			erased = append(erased, rec.ID)
			after, before := declared.SentBy(rec.ID)
			all = slices.DeleteFunc(all, func(c declared.Change) bool { return c.Key > after && c.Key < before })
			clear(at)
			for i := range all {
				at[all[i].Key] = i
			}
			continue
		}
		change, ok, err := t.fold.Message(rec)
		if err != nil {
			return nil, nil, err
		}
		if i, known := at[change.Key]; known {
			all[i] = change
		} else if ok {
			at[change.Key] = len(all)
			all = append(all, change)
		}
	}
	return all, erased, nil
}

// erasePage bounds the rows of an erased agent that are in memory.
const erasePage = 4000

// erase removes the rows of what agents have sent.
func (t *Target) erase(ctx context.Context, tx pgx.Tx, agents []string) error {
	table := t.g.table()
	if t.g.Definition.Group != nil {
		table = t.g.entries()
	}
	for _, agent := range agents {
		for after, before := declared.SentBy(agent); ; {
			rows, err := tx.Query(ctx, `SELECT key FROM `+table+` WHERE key > $1 AND key < $2 ORDER BY key LIMIT $3`, after, before, erasePage)
			if err != nil {
				return err
			}
			keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			if len(keys) == 0 {
				break
			}
			gone := make([]declared.Change, len(keys))
			for i, key := range keys {
				gone[i] = declared.Change{Key: key, Gone: true}
			}
			if err := t.write(ctx, tx, &pgx.Batch{}, gone); err != nil {
				return err
			}
			after = keys[len(keys)-1]
		}
	}
	return nil
}
