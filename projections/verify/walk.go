package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/tidemark-engine/tidemark/history"
)

// This file walks the journal and its archive side by side: both come in the
// order of their revisions, so neither need be kept.

// span is what is known of a partition before its walk.
type span struct {
	partition int
	cut       uint64 // up to here the journal may lack what the archive has
	reach     uint64 // up to here the archive has everything
	at        uint64 // the last revision that was seen
	dense     bool   // every revision is to be seen
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
		archive = func(yield func(history.Message) error) error { return v.Archive.Audit(ctx, p, 0, head, yield) }
	case s.cut > 0:
		return history.NotArchived(p, s.cut)
	}
	journal := func(yield func(history.Message) error) error { return between(ctx, v.Journal, p, 0, head, yield) }
	if err := v.walk(ctx, &s, journal, archive); err != nil {
		return err
	}
	v.gap(&s, head+1)
	return nil
}

// side is one of the two: it yields messages until yield fails.
type side func(yield func(history.Message) error) error

var errStop = errors.New("no more is wanted")

// pull turns a side around; nil is its end.
func (s side) pull() (next func() (*history.Message, error), stop func()) {
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

// walk folds what the journal has, and where it has been trimmed, what the
// archive has, and holds one against the other where both have it.
func (v *Verifier) walk(ctx context.Context, s *span, journal, archive side) error {
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
		}
		for err == nil && a != nil && a.Revision == s.at {
			if a, err = nextA(); a != nil && a.Revision == s.at {
				v.report.Archive.Rows++
				v.report.Archive.Differences++
				v.differ(at(InArchive, a), "the archive has revision %d twice", a.Revision)
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

// step judges what is at the least revision of the two.
func (v *Verifier) step(ctx context.Context, s *span, j, a *history.Message) error {
	c := v.report.Archive
	if a != nil && (j == nil || a.Revision <= j.Revision) {
		c.Rows++
	}
	switch {
	case a == nil || j != nil && j.Revision < a.Revision:
		if j.Revision <= s.reach {
			c.Differences++
			v.differ(at(InArchive, j), "the archive does not have revision %d; the journal says %s", j.Revision, said(j))
		} else if c != nil {
			c.Newer++
		}
		v.event(InJournal, j, v.keep)
	case j == nil || a.Revision < j.Revision:
		if a.Revision > s.cut { // it may have been trimmed this very moment
			var err error
			if s.cut, _, err = v.Journal.Trimmed(ctx, s.partition); err != nil {
				return err
			}
		}
		if a.Revision > s.cut {
			c.Differences++
			v.differ(at(InJournal, a), "revision %d is missing; the archive says %s", a.Revision, said(a))
		} else {
			c.Equal++ // its chain tells more
		}
		v.event(InArchive, a, v.keep)
	case a.Bad != nil && j.Bad == nil, a.Stream != j.Stream, !bytes.Equal(a.Body, j.Body):
		c.Differences++
		v.differ(at(InArchive, j), "the archive says %s; the journal says %s", said(a), said(j))
		v.event(InJournal, j, v.keep)
	default:
		c.Equal++
		v.event(InJournal, j, v.keep)
	}
	return nil
}

// said is what an event says, to be shown.
func said(m *history.Message) string {
	if m.Bad != nil {
		return fmt.Sprintf("%s: %v", m.Stream, m.Bad)
	}
	return fmt.Sprintf("%s %s version %d, digest %.12s, body %x", m.Stream, m.Type, m.Version, m.Digest, sumOf(m.Body).short())
}

// gap names the revisions that neither side has before next.
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
		v.differ(d, "%s, and from the archive too", what)
	default:
		v.differ(d, "%s", what)
	}
	s.at = next - 1
}
