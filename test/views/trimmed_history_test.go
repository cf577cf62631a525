package views_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/query/querytest"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// seam is a journal that is trimmed before many questions, up to a random
// revision.
type seam struct {
	query.Rows
	journal *journal.Journal
	t       *testing.T
	js      jetstream.JetStream
	archive *archive.Archive
	random  *rand.Rand
	at      []uint64 // by partition: how far the archive is
	cut     []uint64
}

func newSeam(t *testing.T, partitions int) *seam {
	nc := support.Engine(t, support.NATS(t))
	j, err := journal.Open(t.Context(), nc, journal.Config{Partitions: partitions})
	harness.Must(t, err)
	db, err := pg.Open(support.Postgres(t))
	harness.Must(t, err)
	t.Cleanup(db.Close)
	harness.Must(t, db.Migrate(t.Context(), harness.Log(t)))
	s := &seam{t: t, journal: j, js: support.JetStream(t, nc), archive: archive.New(db, "archive"), random: random(t)}
	s.Rows = query.Rows{History: history.New(j, s.archive, 0)}
	s.at, s.cut = make([]uint64, partitions), make([]uint64, partitions)
	for p := range partitions {
		if _, err := s.archive.Load(t.Context(), p, j.ID()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *seam) append(t *testing.T, st events.AggregateName, ev events.Event) uint64 {
	last, _, err := s.History.Last(t.Context(), st, history.Linearizable)
	harness.Must(t, err)
	at, err := s.Append(t.Context(), history.Writes(st, last.Revision, fmt.Sprint(st, ev.Version), []events.Event{ev}))
	harness.Must(t, err)
	return at.Revision
}

// keep archives a partition up to its head.
func (s *seam) keep(p int) {
	head, err := s.Head(s.t.Context(), p)
	harness.Must(s.t, err)
	if head == s.at[p] {
		return
	}
	cur, err := s.journal.Read(s.t.Context(), p, s.at[p])
	harness.Must(s.t, err)
	defer cur.Stop()
	var batch []history.Message
	for m := range cur.Messages() {
		if batch = append(batch, m); m.Revision == head {
			break
		}
	}
	harness.Must(s.t, s.archive.Apply(s.t.Context(), p, s.at[p], head, s.archive.Fold(batch)))
	s.at[p] = head
}

// move archives everything and trims up to a random revision.
func (s *seam) move() {
	if s.random.IntN(6) > 0 {
		return
	}
	for p := range s.at {
		s.keep(p)
		if s.at[p] > s.cut[p] {
			s.cut[p] += 1 + s.random.Uint64N(s.at[p]-s.cut[p])
			support.Trim(s.t, s.js, natsio.StreamName(p, len(s.at)), s.cut[p])
		}
	}
}

// TestTheSeamDoesNotShow: a journal that is trimmed all the time answers like a
// complete one.
func TestTheSeamDoesNotShow(t *testing.T) {
	querytest.Rows(t, func(t *testing.T) querytest.History {
		s := newSeam(t, 2)
		return querytest.History{Rows: s.Rows, Before: s.move, Append: s.append}
	})
}

// TestManyKeysAcrossTheSeam: a question for many keys, most of which are only
// in the archive.
func TestManyKeysAcrossTheSeam(t *testing.T) {
	s := newSeam(t, 1)
	var keys []string
	for i := range 400 {
		key := fmt.Sprint("k", 1000+i%200)
		if i < 200 {
			keys = append(keys, key)
		}
		s.append(t, events.StateEntry("a", key), events.Event{
			Type: events.StateSet, Aggregate: "agent", ID: "a", Key: key, Version: uint64(i/200 + 1), Timestamp: time.Now().UTC(),
			RecordedAt: time.Unix(int64(i), 0).UTC(), CommandID: "c", Digest: "d", Schema: events.Schema,
			Data: (&events.StateWrite{Value: fmt.Append(nil, i), Request: "r"}).Encode(),
		})
	}
	s.keep(0)
	support.Trim(t, s.js, "EVENTS", 400)
	for _, m := range []struct {
		revision uint64
		at       time.Time
	}{{150, time.Time{}}, {0, time.Unix(149, 0)}, {320, time.Time{}}, {0, time.Unix(319, 0)}} {
		rows, err := s.EntriesAsOf(t.Context(), "a", keys, history.Moment{Revision: m.revision, At: m.at})
		n := int(m.revision)
		if n == 0 {
			n = int(m.at.Unix()) + 1
		}
		if err != nil || len(rows) != min(n, 200) {
			t.Fatalf("%+v: %d rows, %v", m, len(rows), err)
		}
		for i := range rows {
			want := i
			if i+200 < n {
				want += 200
			}
			if string(rows[i].Value) != fmt.Sprint(want) || rows[i].Key != keys[i] {
				t.Errorf("%+v: %s is %s, want %d", m, rows[i].Key, rows[i].Value, want)
			}
		}
	}
}

// TestWithoutTheArchiveNothingIsMadeUp: without the archive, or with an
// incomplete one, a question fails.
func TestWithoutTheArchiveNothingIsMadeUp(t *testing.T) {
	s := newSeam(t, 1)
	for i := range 6 {
		s.append(t, events.StateEntry("a", "k"), events.Event{
			Type: events.StateSet, Aggregate: "agent", ID: "a", Key: "k", Version: uint64(i + 1), Timestamp: time.Now().UTC(),
			RecordedAt: time.Now().UTC(), CommandID: "c", Digest: "d", Schema: events.Schema,
			Data: (&events.StateWrite{Value: fmt.Append(nil, i), Request: "r"}).Encode(),
		})
		if i == 1 {
			s.keep(0)
		}
	}
	support.Trim(t, s.js, "EVENTS", 4)
	for code, past := range map[string]query.Rows{
		"archive.unavailable": {History: history.New(s.journal, nil, 0)}, "archive.incomplete": s.Rows,
	} {
		for revision := uint64(1); revision <= 6; revision++ {
			e, found, err := past.AsOf(t.Context(), "a", "k", history.Moment{Revision: revision})
			var known *domain.Error
			switch {
			case revision > 4 && (err != nil || !found || string(e.Value) != fmt.Sprint(revision-1)):
				t.Errorf("at %d: %+v, %t, %v", revision, e, found, err)
			case revision <= 2 && code == "archive.incomplete" && (err != nil || string(e.Value) != fmt.Sprint(revision-1)):
				t.Errorf("at %d, which is archived: %+v, %v", revision, e, err)
			case revision <= 4 && (revision > 2 || code != "archive.incomplete") && (!errors.As(err, &known) || known.Code != code):
				t.Errorf("at %d: %+v, %t, %v, want %s", revision, e, found, err, code)
			}
		}
		if rows, err := past.Versions(t.Context(), "a", "k", 0, 2, false); err != nil || len(rows) != 2 {
			t.Errorf("what the journal has: %d, %v", len(rows), err)
		}
		if rows, err := past.Versions(t.Context(), "a", "k", 0, 3, false); err == nil {
			t.Errorf("a history with a hole: %+v", rows)
		}
	}
}

func random(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}
