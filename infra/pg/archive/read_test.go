package archive_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// decodableJournal is a random journal without messages that cannot be decoded.
func decodableJournal(t *testing.T, partition, n int) []history.Message {
	all := slices.DeleteFunc(randomJournal(t, partition, n), func(m history.Message) bool { return m.Bad != nil })
	for i := range all {
		all[i].Revision = uint64(i + 1)
	}
	return all
}

// lastOf computes the expected answer of LastOf.
func lastOf(all []history.Message, s events.AggregateName, upTo uint64, at time.Time) (rec events.Record, ok bool) {
	for i := range all {
		m := &all[i]
		if m.Name == s && (upTo == 0 || m.Revision <= upTo) && (at.IsZero() || !m.RecordedAt.After(at)) {
			rec, ok = m.Record, true
		}
	}
	return rec, ok
}

// Every query returns what the journal would, for random revisions, and for times
// within a nanosecond of an event's.
func TestQueriesMatchTheJournal(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	parts := [][]history.Message{decodableJournal(t, 0, 400), decodableJournal(t, 1, 200)}
	var streams []events.AggregateName
	for p, all := range parts {
		for i := range all { // an agent is in one partition
			all[i].ID = fmt.Sprint(all[i].ID, "p", p)
			all[i].Name = events.StateEntry(all[i].ID, all[i].Key)
			all[i].Body = all[i].Encode()
			streams = append(streams, all[i].Name)
		}
		archiveAll(t, a, all)
	}
	slices.Sort(streams)
	streams = append(slices.Compact(streams), "agent.a", "agent.none.state.k")
	check := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %v\n%+v\nwant\n%+v", what, err, got, want)
		}
	}
	for range 150 {
		p := rand.IntN(2)
		all := parts[p]
		one := &all[rand.IntN(len(all))]
		s, upTo, at := one.Name, rand.Uint64N(uint64(len(all)+2)), time.Time{}
		if rand.IntN(3) == 0 {
			s = streams[rand.IntN(len(streams))]
		}
		if rand.IntN(3) > 0 {
			at = all[rand.IntN(len(all))].RecordedAt.Add(time.Duration(rand.IntN(3) - 1))
		}
		if rand.IntN(3) == 0 {
			upTo = 0
		}
		what := fmt.Sprintf("partition %d, %s up to %d, %s", p, s, upTo, at)
		want, found := lastOf(all, s, upTo, at)
		got, ok, err := a.LastOf(t.Context(), p, s, upTo, at)
		check("the last of "+what, []any{got, ok}, []any{want, found}, err)

		prefix := string(s)[:rand.IntN(len(s)+1)]
		var lasts []events.Record
		for _, s := range streams {
			if last, ok := lastOf(all, s, upTo, at); ok && strings.HasPrefix(string(s), prefix) {
				lasts = append(lasts, last)
			}
		}
		many, err := a.LastsOf(t.Context(), p, prefix, upTo, at)
		check("the lasts of "+prefix+", "+what, many, lasts, err)

		limit := 1 + rand.IntN(20)
		back := []events.Record{}
		for i := len(all) - 1; i >= 0 && len(back) < limit; i-- {
			if all[i].Name == s && (upTo == 0 || all[i].Revision < upTo) {
				back = append(back, all[i].Record)
			}
		}
		many, err = a.Back(t.Context(), p, s, upTo, limit)
		check(fmt.Sprint("back ", limit, " in ", what), many, back, err)

		i := slices.IndexFunc(all, func(m history.Message) bool { return m.Name == s && m.CommandID == one.CommandID })
		var first events.Record
		if i >= 0 {
			first = all[i].Record
		}
		got, ok, _, err = a.FirstOf(t.Context(), p, "j", one.CommandID, []events.AggregateName{s})
		check("command "+one.CommandID+" in "+what, []any{got, ok}, []any{first, i >= 0}, err)

		from := rand.Uint64N(uint64(len(all)))
		expect(t, a, p, from, upTo, all[from:max(from, min(upTo, uint64(len(all))))])
	}
}

// The list has more aggregates than one statement reads.
func TestTheArchiveListsManyStreams(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	var all []history.Message
	var want []string
	for i := range 2500 {
		m := message(0, uint64(i+1), pgtest.When, fmt.Sprintf("a%d", i%2), fmt.Sprintf("k%04d", i/2), 1, "c")
		all, want = append(all, m), append(want, string(m.Name))
	}
	archiveAll(t, a, all)
	slices.Sort(want)
	for _, prefix := range []string{"", "agent.a1.", "agent.a0.state.k1", "b"} {
		recs, err := a.LastsOf(t.Context(), 0, prefix, 0, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range recs {
			got = append(got, string(recs[i].Name))
		}
		if !slices.Equal(got, slices.DeleteFunc(slices.Clone(want), func(s string) bool { return !strings.HasPrefix(s, prefix) })) {
			t.Errorf("%d streams begin with %q", len(got), prefix)
		}
	}
}

// Pages end by size, and Each skips gaps: detecting them is the reader's job.
func TestTheArchiveReadsLargeEventsAndGaps(t *testing.T) {
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	all := make([]history.Message, 120)
	for i := range all {
		all[i] = message(0, uint64(i+1), pgtest.When, "a", "k", uint64(i+1), "c")
		if i%2 == 0 {
			all[i].Data = []byte(`{"value":"` + strings.Repeat("v", 400_000) + `"}`)
			all[i].Body = all[i].Encode()
		}
	}
	archiveAll(t, a, all)
	expect(t, a, 0, 0, 1<<63, all)
	if _, err := db.Pool().Exec(t.Context(), "UPDATE agents.events SET revision = revision + 1000000000000 WHERE revision > 50"); err != nil {
		t.Fatal(err)
	}
	for i := range all[50:] {
		all[50+i].Revision += 1_000_000_000_000
	}
	expect(t, a, 0, 0, 1<<63, all)
	expect(t, a, 0, 0, 50, all[:50])
	expect(t, a, 0, 60, 1_000_000_000_000, nil)
	expectAudit(t, a, all)
	if _, err := db.Pool().Exec(t.Context(), "UPDATE agents.events SET writer = 'x' WHERE revision <= 2"); err != nil {
		t.Fatal(err)
	}
	expectAudit(t, a, all, 1, 2)
}

// expectAudit fails the test unless Audit yields exactly these messages, of which those at the
// bad revisions contradict their columns. Every other event is known already.
func expectAudit(t *testing.T, a *archive.Archive, want []history.Message, bad ...uint64) {
	t.Helper()
	i := 0
	known := func(name events.AggregateName, partition int, revision uint64, body []byte) *events.Record {
		w := &want[i]
		if name != w.Name || partition != w.Partition || revision != w.Revision || !bytes.Equal(body, w.Body) {
			t.Fatalf("asked for revision %d of %s, want %d", revision, name, w.Revision)
		}
		if i%2 == 0 {
			return nil
		}
		return &w.Record
	}
	err := a.Audit(t.Context(), 0, 0, 1<<63, known, func(m history.Message) error {
		if w := &want[i]; !reflect.DeepEqual(m.Record, w.Record) || !bytes.Equal(m.Body, w.Body) || (m.Bad != nil) != slices.Contains(bad, m.Revision) {
			t.Fatalf("audited\n%+v\nwant\n%+v", m.Record, w.Record)
		}
		i++
		return nil
	})
	if err != nil || i != len(want) {
		t.Fatalf("%d messages, %v; want %d", i, err, len(want))
	}
}
