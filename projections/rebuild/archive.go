package rebuild

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
)

// Archive is what accepting another journal needs of the archive.
type Archive interface {
	projections.Target
	// Reaches is the revision up to which a partition of the journal id is archived.
	Reaches(ctx context.Context, partition int, id string) (uint64, error)
	// Detach moves the archived events into a schema of their own.
	Detach(ctx context.Context) (schema string, err error)
}

// DetachArchive moves the archived events aside when they are another
// journal's, and returns the schema that has them; empty when the archive is
// this journal's. It fails when this journal is trimmed, because then only the
// archive of this journal has the old events.
func DetachArchive(ctx context.Context, j history.Source, a Archive) (schema string, err error) {
	own, err := archives(ctx, j, a)
	if err != nil || own {
		return "", err
	}
	for p := range j.Partitions() {
		if cut, _, err := j.Trimmed(ctx, p); err != nil {
			return "", err
		} else if cut > 0 {
			return "", fmt.Errorf("partition %d of this journal is trimmed up to revision %d, and the archive, which must have those events, is another journal's: "+
				"restore the database that belongs to this journal, or import an export into an empty engine", p, cut)
		}
	}
	return a.Detach(ctx)
}

// archives reports whether the archive is this journal's.
func archives(ctx context.Context, j history.Source, a Archive) (bool, error) {
	err := projections.CheckJournal(ctx, j, a)
	for p := range j.Partitions() {
		if err == nil {
			_, err = a.Reaches(ctx, p, j.ID())
		}
	}
	if errors.Is(err, history.ErrForeignJournal) {
		return false, nil
	}
	return err == nil, err
}

// archiveStall bounds how long an archive that is being filled may make no
// progress.
const archiveStall = 15 * time.Second

// AwaitArchive waits until the running view has archived the whole journal.
func AwaitArchive(ctx context.Context, j history.Source, a Archive) error {
	var last uint64
	for moved := time.Now(); ; {
		var reached, total uint64
		for p := range j.Partitions() {
			at, err := a.Reaches(ctx, p, j.ID())
			if err != nil {
				return err
			}
			head, err := j.Head(ctx, p)
			if err != nil {
				return err
			}
			reached, total = reached+min(at, head), total+head
		}
		if reached >= total {
			return nil
		}
		if reached > last {
			last, moved = reached, time.Now()
		}
		if time.Since(moved) > archiveStall {
			return fmt.Errorf("the archive made no progress for %s: it has %d of %d events; is the engine running?", archiveStall, reached, total)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
