package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-engine/tidemark/history"
)

// rowsAhead reports whether a bucket has rows of events that the journal does not
// have. A power cut may keep them and lose the events, for each stream is synced at a
// time of its own. It must be asked before the journal grows.
func (e *Engine) rowsAhead(ctx context.Context) (ahead bool, err error) {
	heads, err := e.journal.heads(ctx)
	if err != nil {
		return false, err
	}
	for _, b := range e.buckets.rows() {
		err := b.Newest(ctx, func(id string, revision uint64) {
			ahead = ahead || revision > heads[e.journal.Partition(id)]
		})
		if err != nil {
			return false, err
		}
	}
	return ahead, nil
}

// sameUpToHead reports whether the archive has the journal's last events, so that
// the journal is the same one and has lost only what came after.
func (g *guard) sameUpToHead(ctx context.Context) (bool, error) {
	if g.e.postgres.DB == nil {
		return true, nil
	}
	a, j := g.e.journal.stores.Archive(), g.e.journal
	for p := range j.Partitions() {
		reaches, err := a.Reaches(ctx, p, j.ID())
		if err != nil {
			return false, err
		}
		head, err := j.Head(ctx, p)
		if err != nil {
			return false, err
		}
		if head == 0 || reaches == 0 {
			continue
		}
		at := min(head, reaches)
		archived, found, err := a.DigestAt(ctx, p, at)
		if err != nil {
			return false, err
		}
		stored, there, err := j.history.Retained().DigestAt(ctx, p, at)
		if err != nil || !there {
			return false, err
		}
		if found && archived != stored {
			return false, nil
		}
	}
	return true, nil
}

// rollBackArchive removes the archived events that the journal does not have any
// more. The archive of another journal is moved to a schema of its own.
func (g *guard) rollBackArchive(ctx context.Context) error {
	stores := g.e.journal.stores
	same, err := g.sameUpToHead(ctx)
	if err != nil && !errors.Is(err, history.ErrForeignJournal) {
		return fmt.Errorf("--accept-journal needs SQL: %w", err)
	}
	if !same {
		schema, err := stores.DetachArchive(ctx)
		if schema != "" {
			g.e.log.Warn("the archive of the other journal was moved to a schema of its own", "schema", schema)
		}
		return err
	}
	for p := range g.e.journal.Partitions() {
		head, err := g.e.journal.Head(ctx, p)
		if err != nil {
			return err
		}
		digest := ""
		if head > 0 {
			if digest, _, err = g.e.journal.history.Retained().DigestAt(ctx, p, head); err != nil {
				return err
			}
		}
		removed, err := stores.Archive().RollBack(ctx, p, head, digest)
		if err != nil {
			return err
		}
		if removed > 0 {
			g.e.log.Warn("events that the journal has lost were removed from the archive", "partition", p, "events", removed, "head", head)
		}
	}
	return nil
}
