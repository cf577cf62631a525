package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// randomJournal generates a journal: several aggregates over several months, with
// clocks that go back slightly, and some messages that are not events.
func randomJournal(t *testing.T, partition, n int) []history.Message {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	at := time.Date(2025, 10, 30, 22, 0, 0, 0, time.UTC)
	versions := map[events.AggregateName]uint64{}
	all := make([]history.Message, n)
	for i := range all {
		at = at.Add(time.Duration(random.Int64N(int64(200 * 24 * time.Hour / time.Duration(n)))))
		recorded := at.Add(-time.Duration(random.Int64N(2000))) // clock skew between engines, in nanoseconds
		agent, key := fmt.Sprint("a", random.IntN(3)), fmt.Sprint("k", random.IntN(3))
		s := events.StateEntry(agent, key)
		versions[s]++
		m := message(partition, uint64(i+1), recorded, agent, key, versions[s], fmt.Sprint("c", random.IntN(n/2)))
		if random.IntN(20) == 0 {
			bad := [][]byte{nil, []byte("torn"), {0xff, 0, 0xfe}, []byte(`{"type":"x"}`), []byte("{\"a\":\"\x00\"}"),
				bytes.Replace(m.Body, []byte(`"schema":1`), []byte(`"schema":99`), 1)}
			m = undecodable(m, bad[random.IntN(len(bad))])
		}
		all[i] = m
	}
	return all
}

func message(partition int, revision uint64, at time.Time, agent, key string, version uint64, command string) history.Message {
	m := history.Message{Record: events.Record{Partition: partition, Revision: revision, Name: events.StateEntry(agent, key), Event: events.Event{
		Type: events.StateSet, Aggregate: "agent", ID: agent, Key: key, Version: version, Timestamp: at, RecordedAt: at,
		Writer: `w "é" \`, CommandID: command, Digest: fmt.Sprint("d", revision), Schema: 1,
		Data: fmt.Appendf(nil, `{"value":{ "n":%d.50,"s":"\u0041é😀" },"request":"r"}`, revision),
	}}}
	m.Body = m.Encode()
	return m
}

// undecodable returns m as the journal's reader delivers it when its body cannot
// be decoded.
func undecodable(m history.Message, body []byte) history.Message {
	_, err := events.Decode(body)
	s := history.Message{Bad: err, Body: body}
	s.Name, s.Partition, s.Revision, s.RecordedAt = m.Name+".odd", m.Partition, m.Revision, m.RecordedAt
	return s
}

// archiveAll archives messages in batches of random size.
func archiveAll(t *testing.T, a *archive.Archive, all []history.Message) {
	t.Helper()
	p := all[0].Partition
	at, err := a.Load(t.Context(), p, "j")
	if err != nil {
		t.Fatal(err)
	}
	for at < uint64(len(all)) {
		to := min(at+1+rand.Uint64N(uint64(len(all)/4+1)), uint64(len(all)))
		if err := a.Apply(t.Context(), p, at, to, a.Fold(all[at:to])); err != nil {
			t.Fatalf("archive %d to %d: %v", at, to, err)
		}
		at = to
	}
}

// expect fails the test unless Each yields exactly these messages.
func expect(t *testing.T, a *archive.Archive, p int, after, upTo uint64, want []history.Message) {
	t.Helper()
	var got []history.Message
	err := a.Each(t.Context(), p, after, upTo, func(m history.Message) error { got = append(got, m); return nil })
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d messages, %v; want %d", len(got), err, len(want))
	}
	for i := range got {
		g, w := &got[i], &want[i]
		if !bytes.Equal(g.Body, w.Body) || (g.Bad == nil) != (w.Bad == nil) || g.Revision != w.Revision || g.Name != w.Name || g.Partition != p ||
			g.Bad == nil && !reflect.DeepEqual(g.Record, w.Record) {
			t.Fatalf("archived\n%+v %s\nwant\n%+v %s", g, g.Body, w, w.Body)
		}
	}
}

func TestTheArchiveKeepsEveryByte(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	first, second := randomJournal(t, 0, 500), randomJournal(t, 3, 300)
	archiveAll(t, a, first)
	archiveAll(t, a, second)
	expect(t, a, 0, 0, 500, first)
	expect(t, archive.New(db, "archive"), 3, 0, 1<<63, second)
	expect(t, a, 0, 17, 99, first[17:99])
	expect(t, a, 1, 0, 500, nil)
	if n := pgtest.Count(t, db, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'agents.events'::regclass"); n < 5 {
		t.Errorf("200 days are in %d partitions", n)
	}
	for p, want := range map[int]uint64{0: 500, 3: 300, 1: 0} {
		if at, err := a.Reaches(t.Context(), p, "j"); at != want || err != nil {
			t.Errorf("partition %d reaches %d, %v", p, at, err)
		}
	}
	if at, err := a.Reaches(t.Context(), 0, "another"); !errors.Is(err, history.ErrForeignJournal) {
		t.Errorf("of another journal: %d, %v", at, err)
	}
	if _, err := a.Load(t.Context(), 0, "another"); !errors.Is(err, history.ErrForeignJournal) {
		t.Errorf("loaded from another journal: %v", err)
	}
	if err := a.Settle(t.Context(), 0); err != nil {
		t.Error(err)
	}
	stop := errors.New("enough")
	n := 0
	err := a.Each(t.Context(), 0, 0, 500, func(history.Message) error {
		if n++; n == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 3 {
		t.Errorf("%d messages, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Each(ctx, 0, 0, 500, func(history.Message) error { return nil }); err == nil {
		t.Error("a canceled Each returned no error")
	}
}

// SQL users see the columns, also of an event from a newer build.
func TestTheArchiveInSQL(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	good := message(0, 1, pgtest.When.Add(789), "a", "k.l", 7, "c")
	good.Writer = "w\x00"
	good.Body = good.Encode()
	newer := undecodable(good, bytes.Replace(good.Body, []byte(`"schema":1`), []byte(`"schema":12`), 1))
	newer.Name, newer.Revision, newer.RecordedAt = good.Name, 2, pgtest.When.AddDate(0, 3, 0)
	torn := undecodable(good, []byte{0xff})
	torn.Name, torn.Revision, torn.RecordedAt = "agent.a\xff", 3, pgtest.When.AddDate(0, 3, 0)
	archiveAll(t, a, []history.Message{good, newer, torn})
	var got []string
	rows, err := db.Pool().Query(t.Context(), `SELECT concat_ws(' ', revision, stream, aggregate, id, key, type, version, timestamp, recorded_at,
		recorded_ns, writer, command_id, digest, schema, body IS NULL, tableoid::regclass) FROM agents.events ORDER BY revision`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	want := []string{
		"1 agent.a.state.k.l agent a k.l agent.state_set 7 2026-01-02 03:04:05.000006+00 2026-01-02 03:04:05.000006+00 789 w\ufffd c d1 1 f agents.events_2026_01",
		"2 agent.a.state.k.l agent a k.l agent.state_set 7 2026-01-02 03:04:05.000006+00 2026-01-02 03:04:05.000006+00 789 w\ufffd c d1 12 f agents.events_2026_01",
		"3 agent.a\ufffd     0 2026-04-02 03:04:05.000006+00 2026-04-02 03:04:05.000006+00 0    0 t agents.events_2026_04",
	}
	if rows.Err() != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%s\nwant\n%s", rows.Err(), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheArchiveAcceptsAnyYear(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	var all []history.Message
	for _, at := range []time.Time{
		{}, time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Unix(0, 0).UTC(),
		time.Date(2024, 2, 29, 23, 59, 59, 999999999, time.UTC), time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		all = append(all, message(0, uint64(len(all)+1), at, "a", "k", uint64(len(all)+1), "c"))
	}
	archiveAll(t, a, all)
	expect(t, a, 0, 0, 99, all)
}

func TestAFencedArchiveWritesNothing(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	all := randomJournal(t, 0, 40)
	if _, err := a.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	if err := a.Apply(t.Context(), 0, 3, 40, a.Fold(all[3:])); !errors.Is(err, projections.ErrFenced) {
		t.Errorf("%v", err)
	}
	if n := pgtest.Count(t, db, "SELECT count(*) FROM agents.events"); n != 0 {
		t.Errorf("%d rows", n)
	}
	archiveAll(t, a, all)
	if err := a.Apply(t.Context(), 0, 0, 40, a.Fold(all)); !errors.Is(err, projections.ErrFenced) {
		t.Errorf("%v", err)
	}
	expect(t, a, 0, 0, 40, all)
}

// After a checkpoint was reset, the view replaces changed and missing rows, and
// events that are no longer in the journal stay.
func TestTheArchiveFoldedAgain(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	all := randomJournal(t, 0, 200)
	archiveAll(t, a, all)
	for _, sql := range []string{
		"UPDATE agents.checkpoints SET position = 0",
		"UPDATE agents.events SET body = 'no', raw = NULL, recorded_at = recorded_at + interval '40 days' WHERE revision IN (1, 77)",
		"DELETE FROM agents.events WHERE revision IN (50, 200)",
	} {
		if _, err := db.Pool().Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	archiveAll(t, a, all)
	expect(t, a, 0, 0, 200, all)

	if _, err := db.Pool().Exec(t.Context(), "UPDATE agents.checkpoints SET position = 0"); err != nil {
		t.Fatal(err)
	}
	trimmed := slices.Concat(all[2:3], all[90:])
	if _, err := a.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	if err := a.Apply(t.Context(), 0, 0, 200, a.Fold(trimmed)); err != nil {
		t.Fatal(err)
	}
	expect(t, a, 0, 0, 200, all)
}

// An archive that cannot become complete fails.
func TestANewArchiveOfATrimmedJournalHalts(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	all := randomJournal(t, 0, 40)
	if _, err := a.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	err := a.Apply(t.Context(), 0, 0, 40, a.Fold(all[10:]))
	if !errors.Is(err, history.ErrForeignJournal) || !strings.Contains(err.Error(), "10 of its revisions 1 to 40") {
		t.Errorf("%v", err)
	}
	if n := pgtest.Count(t, db, "SELECT count(*) FROM agents.events"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// Views of several journal partitions create the partitions of months concurrently.
func TestPartitionsAreCreatedConcurrently(t *testing.T) {
	db := pgtest.Migrated(t)
	pgtest.HoldLock(t, db, 0x7469_6465_6d61_726b) // the engines keep each other out all the same
	var all [4][]history.Message
	var running sync.WaitGroup
	for p := range all {
		all[p] = randomJournal(t, p, 400)
		running.Go(func() {
			a := archive.New(db, "archive")
			at, err := a.Load(t.Context(), p, "j")
			for ; err == nil && at < 400; at += 20 {
				err = a.Apply(t.Context(), p, at, at+20, a.Fold(all[p][at:at+20]))
			}
			if err != nil {
				t.Errorf("partition %d at %d: %v", p, at, err)
			}
		})
	}
	running.Wait()
	a := archive.New(db, "archive")
	for p := range all {
		expect(t, a, p, 0, 400, all[p])
	}
}

// A partition that was dropped by hand is created again.
func TestADroppedPartitionIsCreatedAgain(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	archiveAll(t, a, []history.Message{message(0, 1, pgtest.When, "a", "k", 1, "c")})
	if _, err := db.Pool().Exec(t.Context(), "DROP TABLE agents.events_2026_01"); err != nil {
		t.Fatal(err)
	}
	next := a.Fold([]history.Message{message(0, 2, pgtest.When, "a", "k", 2, "c")})
	if err := a.Apply(t.Context(), 0, 1, 2, next); err == nil {
		t.Fatal("an event without a partition was stored")
	}
	if err := a.Apply(t.Context(), 0, 1, 2, next); err != nil { // the runner retries
		t.Error(err)
	}
}
