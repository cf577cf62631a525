package declared

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel/declared"
)

// Target writes the rows of one generation and their checkpoint in one transaction.
type Target struct {
	db     *pg.DB
	g      Generation
	fold   *declared.Fold
	layout *layout

	Written func() // is called after rows were written; it must not block; nil = nothing
}

var (
	_ projections.Target             = (*Target)(nil)
	_ projections.Folder             = (*Target)(nil)
	_ projections.CheckpointDigester = (*Target)(nil)
)

// NewTarget returns the target of a generation.
func NewTarget(db *pg.DB, g Generation) *Target {
	t := &Target{db: db, g: g, fold: declared.New(g.Definition)}
	t.layout = newLayout(&t.g)
	return t
}

// ErrReplaced means that the generation is not there any more, or has become the live one.
var ErrReplaced = errors.New("another generation of the view has taken its place")

// Load implements projections.Target. Fails with ErrReplaced.
func (t *Target) Load(ctx context.Context, partition int, id string) (uint64, error) {
	var at pg.Checkpoint
	err := t.db.Pool().QueryRow(ctx, `SELECT position, c.incarnation, c.version FROM agents.checkpoints c
		WHERE c.view = $1 AND partition = $2 AND EXISTS (SELECT FROM agents.declared_generations WHERE id = $3 AND live = $4)`,
		t.g.Checkpoint(), partition, t.g.ID, t.g.Live).Scan(&at.Position, &at.Journal, &at.Version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrReplaced
	}
	if err != nil {
		return 0, fmt.Errorf("read the checkpoint: %w", err)
	}
	if at.Journal != id {
		return 0, fmt.Errorf("%w: the view in SQL was folded from journal %s, this is journal %s", history.ErrForeignJournal, at.Journal, id)
	}
	if version := declared.Version(t.g.Definition.From); at.Version > version {
		return 0, fmt.Errorf("this engine is older than its views: the rows have version %d, this build folds version %d: run the newer build", at.Version, version)
	}
	return at.Position, nil
}

// CheckpointDigest implements projections.CheckpointDigester.
func (t *Target) CheckpointDigest(ctx context.Context, partition int) (position uint64, digest string, err error) {
	return t.db.CheckpointDigest(ctx, t.g.Checkpoint(), partition)
}

// Fold implements projections.Folder: it folds what the view covers.
func (t *Target) Fold(batch []history.Message) projections.Changes {
	covered, n := batch, 0
	for n < len(batch) && t.fold.Covers(batch[n].Name) {
		n++
	}
	if n < len(batch) {
		covered = slices.Clone(batch[:n])
		for i := n + 1; i < len(batch); i++ {
			if t.fold.Covers(batch[i].Name) {
				covered = append(covered, batch[i])
			}
		}
	}
	if t.fold.Messages() {
		c := projections.FoldMessages(covered)
		c.Messages = batch[max(0, len(batch)-1):] // the digest at the position is the last event's
		return c
	}
	c := projections.Fold(covered)
	if n := len(batch); n > 0 && batch[n-1].Bad == nil { // the digest at the position is the last event's
		c.Events = append(c.Events, &batch[n-1].Record)
	}
	return c
}

// Apply implements projections.Target. As in the durable view, a power failure may lose the
// newest rows together with their checkpoint.
func (t *Target) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	// gofail: var declaredBegin struct{}
	// return context.DeadlineExceeded
	changes, erased, err := t.changes(&c)
	if err != nil {
		return projections.Unappliable(err)
	}
	err = t.db.InTx(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		if from < to && len(c.Released) == 0 {
			b.Queue(`SET LOCAL synchronous_commit = off`)
		}
		b.Queue(fence, t.g.Checkpoint(), partition, from, to, pg.Optional(c.DigestAt(to)), t.g.ID).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() != 1 {
				return projections.ErrFenced
			}
			return nil
		})
		if len(erased) > 0 {
			if err := t.write(ctx, tx, b, nil); err != nil {
				return err
			}
			if err := t.erase(ctx, tx, erased); err != nil {
				return err
			}
			b = &pgx.Batch{}
		}
		return t.write(ctx, tx, b, changes)
	})
	// gofail: var declaredCommitted struct{}
	// return context.DeadlineExceeded
	if err == nil && t.Written != nil && len(changes)+len(erased) > 0 {
		t.Written()
	}
	if err == nil || errors.Is(err, projections.ErrFenced) {
		return err
	}
	return fmt.Errorf("write %d rows up to %d: %w", len(changes), to, err)
}

// write sends the statements of b and those that write changes.
func (t *Target) write(ctx context.Context, tx pgx.Tx, b *pgx.Batch, changes []declared.Change) error {
	var empty []string
	t.queue(b, changes, &empty)
	if b.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil || len(empty) == 0 {
		return err
	}
	_, err := tx.Exec(ctx, t.layout.deleteEmpty(), empty)
	return err
}

// changes are the changed rows, each once, and the agents whose rows of before have ended. A
// row whose aggregate is in quarantine is gone.
func (t *Target) changes(c *projections.Changes) (all []declared.Change, erased []string, err error) {
	if t.fold.Messages() {
		return t.messages(c.Events)
	}
	all = make([]declared.Change, 0, len(c.Entries)+len(c.Docs)+len(c.Quarantined))
	for i := range c.Entries {
		all = append(all, t.fold.Entry(&c.Entries[i]))
	}
	for i := range c.Docs {
		all = append(all, t.fold.Doc(&c.Docs[i]))
	}
	if len(c.Quarantined) == 0 {
		return all, nil, nil
	}
	at := make(map[string]int, len(all))
	for i := range all {
		at[all[i].Key] = i
	}
	for i := range c.Quarantined {
		m := &c.Quarantined[i]
		if !t.fold.Covers(m.Name) {
			continue
		}
		gone := declared.Change{Key: declared.KeyOf(m.Name), Gone: true}
		if before, ok := at[gone.Key]; ok {
			all[before] = gone
			continue
		}
		at[gone.Key] = len(all)
		all = append(all, gone)
	}
	return all, nil, nil
}

// queue queues the statements that write changes; empty receives the keys of groups without
// an entry.
func (t *Target) queue(b *pgx.Batch, changes []declared.Change, empty *[]string) {
	if len(changes) == 0 {
		return
	}
	d := &t.g.Definition
	var keys, set, gone, groups []string
	for i := range changes {
		c := &changes[i]
		if keys = append(keys, c.Key); c.Gone {
			gone = append(gone, c.Key)
			continue
		}
		if set = append(set, c.Key); d.Group != nil {
			groups = append(groups, t.fold.GroupOf(c))
		}
	}
	values := func(column string) []*string {
		all := make([]*string, 0, len(set))
		for i := range changes {
			if c := &changes[i]; !c.Gone {
				all = append(all, t.fold.Named(c, column))
			}
		}
		return all
	}
	var by, sums []any
	for _, c := range t.layout.columns {
		by = append(by, values(c.from))
	}
	for _, name := range t.layout.sums {
		sums = append(sums, values(name))
	}
	if d.Group == nil {
		if len(set) > 0 {
			b.Queue(t.layout.upsertRows(), append([]any{set}, by...)...)
		}
		if len(gone) > 0 {
			b.Queue(t.layout.deleteRows(), gone)
		}
		return
	}
	b.Queue(t.layout.upsertGroups(), append(append([]any{keys, set, groups}, by...), sums...)...).Query(func(rows pgx.Rows) (err error) {
		*empty, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if len(set) > 0 {
		b.Queue(t.layout.upsertEntries(), append([]any{set, groups}, sums...)...)
	}
	if len(gone) > 0 {
		b.Queue(t.layout.deleteEntries(), gone)
	}
}
