package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// span is the range of a walk in one partition.
type span struct {
	partition int
	cut       uint64 // up to here the journal may lack events of the archive
	reach     uint64 // up to here the archive is complete
	at        uint64 // the last revision read
	dense     bool   // every revision must exist

	journal *history.Message // the journal's next event, while the archive's next one is read
}

// known implements Known.
func (s *span) known(name events.AggregateName, partition int, revision uint64, body []byte) *events.Record {
	j := s.journal
	if j == nil || j.Bad != nil || j.Revision != revision || j.Partition != partition || j.Name != name || !bytes.Equal(j.Body, body) {
		return nil
	}
	return &j.Record
}

func (v *Verifier) partition(ctx context.Context, p int, head uint64) error {
	s := span{partition: p, dense: true}
	var err error
	if s.cut, _, err = v.Journal.Trimmed(ctx, p); err != nil {
		return err
	}
	archive := func(func(history.Message) error) error { return nil }
	switch {
	case v.Archive != nil:
		if s.reach, err = v.Archive.Reaches(ctx, p, v.Journal.ID()); err != nil {
			return err
		}
		s.reach = min(s.reach, head)
		archive = func(yield func(history.Message) error) error { return v.Archive.Audit(ctx, p, 0, head, s.known, yield) }
	case s.cut > 0:
		return history.NotArchived(p, s.cut)
	}
	journal := func(yield func(history.Message) error) error { return readRange(ctx, v.Journal, p, 0, head, yield) }
	if err := v.walk(ctx, &s, journal, archive); err != nil {
		return err
	}
	v.gap(&s, head+1)
	return nil
}

// messageSeq yields messages in the order of their revisions until yield fails.
type messageSeq func(yield func(history.Message) error) error

var errStop = errors.New("the reader has stopped")

// pull turns a messageSeq into an iterator; next returns nil at its end.
func (s messageSeq) pull() (next func() (*history.Message, error), stop func()) {
	pull, stop := iter.Pull2(func(yield func(history.Message, error) bool) {
		err := s(func(m history.Message) error {
			if !yield(m, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(history.Message{}, err)
		}
	})
	return func() (*history.Message, error) {
		m, err, ok := pull()
		if !ok || err != nil {
			return nil, err
		}
		return &m, nil
	}, stop
}

// walk folds the events of the journal, or of the archive where the journal has been trimmed, and
// compares both where both have an event. It reads them side by side, so memory does not grow with
// the history.
func (v *Verifier) walk(ctx context.Context, s *span, journal, archive messageSeq) error {
	if v.Archive != nil && v.report.Archive == nil {
		v.report.Archive = &Counts{}
	}
	nextJ, stopJ := journal.pull()
	defer stopJ()
	nextA, stopA := archive.pull()
	defer stopA()
	j, err := nextJ()
	if err != nil {
		return err
	}
	s.journal = j
	a, err := nextA()
	for err == nil && (j != nil || a != nil) {
		jr, ar := revision(j), revision(a)
		if s.dense {
			v.gap(s, min(jr, ar))
		}
		if err = v.step(ctx, s, j, a); err != nil {
			return err
		}
		if s.at = min(jr, ar); jr == s.at {
			if j, err = nextJ(); err != nil {
				return err
			}
			s.journal = j
		}
		for err == nil && a != nil && a.Revision == s.at {
			if a, err = nextA(); a != nil && a.Revision == s.at {
				v.report.Archive.Rows++
				v.report.Archive.Differences++
				v.differ(eventDifference(InArchive, a), "the archive has revision %d twice", a.Revision)
			}
		}
	}
	return err
}

func revision(m *history.Message) uint64 {
	if m == nil {
		return math.MaxUint64
	}
	return m.Revision
}

// step judges the event with the lowest revision of the two.
func (v *Verifier) step(ctx context.Context, s *span, j, a *history.Message) error {
	c := v.report.Archive
	if a != nil && (j == nil || a.Revision <= j.Revision) {
		c.Rows++
	}
	switch {
	case a == nil || j != nil && j.Revision < a.Revision:
		if j.Revision <= s.reach {
			c.Differences++
			v.differ(eventDifference(InArchive, j), "the archive does not have revision %d; the journal says %s", j.Revision, describe(j))
		} else if c != nil {
			c.Newer++
		}
		v.foldEvent(InJournal, j, v.keep)
	case j == nil || a.Revision < j.Revision:
		if a.Revision > s.cut { // it may have been trimmed just now
			var err error
			if s.cut, _, err = v.Journal.Trimmed(ctx, s.partition); err != nil {
				return err
			}
		}
		if a.Revision > s.cut {
			c.Differences++
			v.differ(eventDifference(InJournal, a), "revision %d is missing; the archive says %s", a.Revision, describe(a))
		} else {
			c.Equal++ // checkChain judges it further
		}
		v.foldEvent(InArchive, a, v.keep)
	case a.Bad != nil && j.Bad == nil, a.Name != j.Name, !bytes.Equal(a.Body, j.Body):
		c.Differences++
		v.differ(eventDifference(InArchive, j), "the archive says %s; the journal says %s", describe(a), describe(j))
		v.foldEvent(InJournal, j, v.keep)
	default:
		c.Equal++
		v.foldEvent(InJournal, j, v.keep)
	}
	return nil
}

// describe returns the content of an event for messages.
func describe(m *history.Message) string {
	if m.Bad != nil {
		return fmt.Sprintf("%s: %v", m.Name, m.Bad)
	}
	return fmt.Sprintf("%s %s version %d, digest %.12s, body %x", m.Name, m.Type, m.Version, m.Digest, sumOf(m.Body).short())
}

// gap reports the revisions before next that neither store has.
func (v *Verifier) gap(s *span, next uint64) {
	if next <= s.at+1 || next == math.MaxUint64 {
		return
	}
	what := fmt.Sprintf("revisions %d to %d are missing", s.at+1, next-1)
	if next == s.at+2 {
		what = fmt.Sprintf("revision %d is missing", s.at+1)
	}
	d := Difference{Tier: InJournal, Key: fmt.Sprintf("partition %d", s.partition), Partition: s.partition, Revision: s.at + 1}
	switch {
	case next-1 <= s.cut:
		d.Tier = InArchive
		v.differ(d, "%s; the journal is trimmed up to %d", what, s.cut)
	case v.Archive != nil:
		v.differ(d, "%s in the journal and in the archive", what)
	default:
		v.differ(d, "%s", what)
	}
	s.at = next - 1
}
