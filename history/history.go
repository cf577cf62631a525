package history

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// History is the journal and its archive as one sequence. Up to the trim mark of
// a partition its methods read the archive, beyond it the journal.
type History struct {
	JournalStore
	archive ArchiveStore  // nil = without SQL: only an untrimmed journal is complete
	skew    time.Duration // how far the clocks of engines may differ

	mu     sync.Mutex
	shared map[int]*fanout // readers shared by those that follow, by partition
}

// DefaultSkew is how far the clocks of engines may differ unless Options say
// otherwise (contract, limits.clock_skew).
const DefaultSkew = 5 * time.Second

// New joins a journal with its archive. archive is nil where the engine runs
// without SQL; skew 0 is DefaultSkew.
func New(journal JournalStore, archive ArchiveStore, skew time.Duration) *History {
	if skew == 0 {
		skew = DefaultSkew
	}
	return &History{JournalStore: journal, archive: archive, skew: skew, shared: map[int]*fanout{}}
}

var errForgotten = errors.New("the journal was replaced or shortened")

// Forget ends the shared readers, whose newest entries may no longer be in the
// journal.
func (h *History) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.shared {
		f.fail(errForgotten)
	}
}

// Archived reports whether there is an archive to read.
func (h *History) Archived() bool { return h.archive != nil }

var errNoArchive = errors.New("the engine runs without SQL")

// trimmed says how much of a range of revisions only the archive has: the
// revisions after one and up to upTo (0 = the end). It makes sure that the
// archive holds them; upTo is 0 where the journal holds everything.
func (h *History) trimmed(ctx context.Context, partition int, after, upTo uint64) (archived uint64, err error) {
	cut, _, err := h.Trimmed(ctx, partition)
	if err != nil || after >= cut {
		return 0, err
	}
	if upTo > 0 {
		cut = min(cut, upTo)
	}
	return cut, h.holds(ctx, partition, cut)
}

// holds fails with ErrNotArchived unless the archive has all events of a
// partition up to a revision.
func (h *History) holds(ctx context.Context, partition int, upTo uint64) error {
	if h.archive == nil {
		return NotArchived(partition, upTo)
	}
	reaches, err := h.archive.Reaches(ctx, partition, h.ID())
	switch {
	case errors.Is(err, ErrForeignJournal):
		return unreadable("archive.incomplete", partition, upTo, err)
	case err != nil:
		return unreadable("archive.unavailable", partition, upTo, err)
	}
	if reaches < upTo {
		return unreadable("archive.incomplete", partition, upTo, fmt.Errorf("the archive reaches only %d", reaches))
	}
	return nil
}

// trimmedOf says how much of one aggregate only the archive has: its events up to
// the returned revision, which is not after upTo. It is 0 where the journal still
// has the aggregate's first event, because a trim takes events from an aggregate's
// beginning; the archive is then not needed.
func (h *History) trimmedOf(ctx context.Context, name events.AggregateName, upTo uint64) (archived uint64, err error) {
	first, err := h.First(ctx, name)
	if err != nil {
		return 0, err
	}
	if first.Revision == 0 || first.Bad == nil && first.Version == 1 {
		return 0, nil
	}
	return upTo, h.holds(ctx, h.Partition(name.ID()), upTo)
}

// Missing returns why events of a partition that were trimmed cannot be read from
// the archive; nil = nothing was trimmed, or the archive has all of it.
func (h *History) Missing(ctx context.Context, partition int) error {
	_, err := h.trimmed(ctx, partition, 0, 0)
	return err
}

// unreadable is the one error for events that were trimmed and that the archive
// does not give: ErrNotArchived with the reason for the engine; for clients 503
// without the reason, which may name servers.
func unreadable(code string, partition int, upTo uint64, why error) error {
	what := "cannot be read from the archive now"
	if code == "archive.incomplete" {
		what = "are not in the archive: restore the database that has them, or wait until the archive has caught up"
	}
	return &notArchived{domain.Errorf(domain.Unavailable, code,
		"the events up to revision %d of partition %d were trimmed from the journal and %s; then send the same request again", upTo, partition, what), why}
}

// ErrNotArchived means that a part of the past is neither in the journal nor in
// the archive.
var ErrNotArchived = errors.New("a part of the history is neither in the journal nor in the archive")

// NotArchived is the error for events up to a revision that were trimmed where
// there is no archive.
func NotArchived(partition int, upTo uint64) error {
	return unreadable("archive.unavailable", partition, upTo, errNoArchive)
}

type notArchived struct {
	public error
	why    error
}

func (e *notArchived) Error() string { return e.public.Error() + " (" + e.why.Error() + ")" }

func (e *notArchived) Unwrap() error { return e.public }

func (e *notArchived) Is(target error) bool { return target == ErrNotArchived }

// Last returns the last event of an aggregate; ok is false when there is none.
func (h *History) Last(ctx context.Context, name events.AggregateName, f Freshness) (rec events.Record, ok bool, err error) {
	ends, err := h.Ends(ctx, []events.AggregateName{name}, Bound{}, f)
	if err != nil {
		return rec, false, err
	}
	return ends[0].event()
}

// At returns the event at a revision of a partition.
func (h *History) At(ctx context.Context, partition int, revision uint64) (rec events.Record, err error) {
	found := false
	err = h.Between(ctx, partition, revision-1, revision, func(m Message) (bad error) {
		rec, found, bad = m.event()
		return bad
	})
	if err == nil && !found {
		err = fmt.Errorf("revision %d of partition %d: %w", revision, partition, ErrNoEntry)
	}
	return rec, err
}

// ErrNoEntry means that the history has no entry at a revision.
var ErrNoEntry = errors.New("no such entry")

// DigestAt returns the digest of the event at a revision; found is false where
// there is no entry.
func (h *History) DigestAt(ctx context.Context, partition int, revision uint64) (digest string, found bool, err error) {
	err = h.Between(ctx, partition, revision-1, revision, func(m Message) error {
		digest, found = m.Digest, true // an entry that is no event has no digest
		return nil
	})
	return digest, found, err
}

// FirstOf returns the first event that a command caused on one of names, from
// the archive; see ArchiveStore.
func (h *History) FirstOf(ctx context.Context, partition int, commandID string, names []events.AggregateName) (rec events.Record, ok bool, reaches uint64, err error) {
	if h.archive == nil {
		return rec, false, 0, errNoArchive
	}
	return h.archive.FirstOf(ctx, partition, h.ID(), commandID, names)
}
