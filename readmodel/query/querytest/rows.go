// Package querytest is the conformance suite of query.Rows; it runs for each combination of
// journal and archive.
package querytest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/query"
)

// History is a history read as rows, with a function that writes to it.
type History struct {
	Rows query.Rows
	// Before runs before every read, for example to trim the journal; nil = nothing.
	Before func()
	// Append appends an event to its stream and returns its revision.
	Append func(t *testing.T, s events.AggregateName, ev events.Event) uint64
}

// Rows runs the suite; open makes a new, empty history.
func Rows(t *testing.T, open func(t *testing.T) History) {
	for name, test := range map[string]func(*suite, *testing.T){
		"the last event is the entry":     (*suite).last,
		"an entry as of any revision":     (*suite).asOfRevision,
		"an entry as of any time":         (*suite).asOfTime,
		"entries as of any revision":      (*suite).entriesAsOf,
		"keys are listed in pages":        (*suite).keys,
		"history is read from its end":    (*suite).history,
		"names are taken literally":       (*suite).literally,
		"a missing entry is not an error": (*suite).never,
	} {
		t.Run(name, func(t *testing.T) { test(&suite{History: open(t), versions: map[events.AggregateName]uint64{}}, t) })
	}
}

func (h *History) rows() query.Rows {
	if h.Before != nil {
		h.Before()
	}
	return h.Rows
}

func (h *History) Last(ctx context.Context, agent, key string) (readmodel.Entry, bool, uint64, error) {
	return h.rows().Last(ctx, agent, key)
}

func (h *History) AsOf(ctx context.Context, agent, key string, revision uint64, at time.Time) (readmodel.Entry, bool, error) {
	return h.rows().AsOf(ctx, agent, key, history.Moment{Revision: revision, At: at})
}

func (h *History) EntriesAsOf(ctx context.Context, agent string, keys []string, revision uint64, at time.Time) ([]readmodel.Entry, error) {
	return h.rows().EntriesAsOf(ctx, agent, keys, history.Moment{Revision: revision, At: at})
}

func (h *History) Keys(ctx context.Context, agent, prefix, after string, limit int) ([]string, error) {
	return h.rows().Keys(ctx, agent, prefix, after, limit)
}

func (h *History) Versions(ctx context.Context, agent, key string, below uint64, limit int, losers bool) ([]readmodel.Version, error) {
	return h.rows().Versions(ctx, agent, key, below, limit, losers)
}

type suite struct {
	History
	versions map[events.AggregateName]uint64
	recorded time.Time // of the next event; zero = when.Add(1)
}

var when = time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)

// write appends an event of an entry or of its losing writes, and returns the row.
func (p *suite) write(t *testing.T, agent, key, typ, value string) readmodel.Entry {
	t.Helper()
	s := events.StateEntry(agent, key)
	data := (&events.StateWrite{Strategy: "timestamp", Request: "r"}).Encode()
	switch typ {
	case events.StateSet:
		data = (&events.StateWrite{Value: []byte(value), Strategy: "timestamp", Request: "r"}).Encode()
	case events.StateSuperseded, events.StateRejected:
		s = events.EntryConflicts(agent, key)
		data = (&events.StateLoss{Verb: "set", Value: []byte(value), Reason: "state.conflict", CurrentVersion: 1}).Encode()
	}
	p.versions[s]++
	recorded := p.recorded
	if recorded.IsZero() {
		recorded = when.Add(1)
	}
	ev := events.Event{
		Type: typ, Aggregate: "agent", ID: agent, Key: key, Version: p.versions[s], Timestamp: when, RecordedAt: recorded, Writer: "w",
		CommandID: fmt.Sprintf("c-%s-%d", typ, p.versions[s]), Data: data, Digest: fmt.Sprint("d", p.versions[s]), Schema: events.Schema,
	}
	e := readmodel.Entry{
		Agent: agent, Key: key, Timestamp: ev.Timestamp, Writer: "w", Version: ev.Version, UpdatedAt: ev.RecordedAt, Digest: ev.Digest,
		Revision: p.Append(t, s, ev),
	}
	if typ != events.StateDeleted {
		e.Value = []byte(value)
	}
	return e
}

func (p *suite) last(t *testing.T) {
	for _, agent := range []string{"a", "b", "agent-7"} {
		for range 3 {
			want := p.write(t, agent, "k", events.StateSet, `{ "a":1.50 }`)
			e, found, revision, err := p.Last(t.Context(), agent, "k")
			if err != nil || !found || revision != want.Revision || !reflect.DeepEqual(e, want) {
				t.Errorf("%+v, %t, %d, %v\nwant %+v", e, found, revision, err, want)
			}
		}
		p.write(t, agent, "k", events.StateRejected, `9`)
		gone := p.write(t, agent, "k", events.StateDeleted, "")
		if e, found, revision, err := p.Last(t.Context(), agent, "k"); err != nil || found || revision != gone.Revision {
			t.Errorf("deleted: %+v, %t, %d, %v", e, found, revision, err)
		}
	}
}

func (p *suite) never(t *testing.T) {
	p.write(t, "a", "k", events.StateSet, `1`)
	for _, name := range [][2]string{{"a", "none"}, {"none", "k"}} {
		if e, found, revision, err := p.Last(t.Context(), name[0], name[1]); err != nil || found || revision != 0 {
			t.Errorf("last: %+v, %t, %d, %v", e, found, revision, err)
		}
		if e, found, err := p.AsOf(t.Context(), name[0], name[1], 1, time.Time{}); err != nil || found {
			t.Errorf("as of: %+v, %t, %v", e, found, err)
		}
		if rows, err := p.Versions(t.Context(), name[0], name[1], 0, 10, true); err != nil || len(rows) > 0 {
			t.Errorf("history: %+v, %v", rows, err)
		}
	}
	if keys, err := p.Keys(t.Context(), "none", "", "", 10); err != nil || len(keys) > 0 {
		t.Errorf("keys: %q, %v", keys, err)
	}
}

func (p *suite) keys(t *testing.T) {
	want := []string{"a", "a-", "a.a", "a.b", "a/", "a=", "aa", "b", "b.a", "c"}
	for _, i := range []int{3, 1, 9, 0, 5, 8, 2, 7, 4, 6} {
		p.write(t, "x", want[i], events.StateSet, `1`)
	}
	p.write(t, "x", "c", events.StateDeleted, "") // still listed
	p.write(t, "xx", "z", events.StateSet, `1`)
	p.write(t, "x", "lost", events.StateRejected, `1`)
	slices.Sort(want)
	for _, c := range []struct {
		prefix, after string
		limit         int
	}{{"", "", 100}, {"", "", 3}, {"", "a.a", 3}, {"a.", "", 100}, {"a", "a=", 100}, {"", "c", 10}, {"zz", "", 10}, {"b", "b", 1}} {
		var expected []string
		for _, k := range want {
			if k > c.after && len(k) >= len(c.prefix) && k[:len(c.prefix)] == c.prefix && len(expected) < c.limit {
				expected = append(expected, k)
			}
		}
		if got, err := p.Keys(t.Context(), "x", c.prefix, c.after, c.limit); err != nil || !slices.Equal(got, expected) {
			t.Errorf("%+v: %q, %v; want %q", c, got, err, expected)
		}
	}
}

func (p *suite) history(t *testing.T) {
	var all, wins []uint64 // revisions, newest first
	for i := range 12 {
		typ := []string{events.StateSet, events.StateSuperseded, events.StateSet, events.StateRejected, events.StateDeleted}[i%5]
		e := p.write(t, "a", "k", typ, fmt.Sprint(i))
		p.write(t, "a", "other", events.StateSet, `0`)
		all = append([]uint64{e.Revision}, all...)
		if typ == events.StateSet || typ == events.StateDeleted {
			wins = append([]uint64{e.Revision}, wins...)
		}
	}
	for _, losers := range []bool{false, true} {
		want := wins
		if losers {
			want = all
		}
		for limit := 1; limit <= len(all)+1; limit++ {
			var got []uint64
			for below := uint64(0); ; {
				page, err := p.Versions(t.Context(), "a", "k", below, limit, losers)
				if err != nil || len(page) > limit {
					t.Fatalf("%d below %d: %d, %v", limit, below, len(page), err)
				}
				for _, v := range page {
					got = append(got, v.Revision)
				}
				if len(page) < limit {
					break
				}
				below = page[len(page)-1].Revision
			}
			if !slices.Equal(got, want) {
				t.Errorf("in pages of %d, losers %t: %v, want %v", limit, losers, got, want)
			}
		}
	}
	kinds := map[string]bool{}
	page, err := p.Versions(t.Context(), "a", "k", 0, 100, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range page {
		kinds[v.Kind] = true
		if v.CommandID == "" || v.Agent != "a" || v.Key != "k" || (v.Value == nil) != (v.Kind == "deleted") || (v.Reason != "") != (v.Kind == "superseded" || v.Kind == "rejected") {
			t.Errorf("%+v", v)
		}
	}
	if len(kinds) != 4 {
		t.Errorf("kinds: %v", kinds)
	}
}

// literally: an agent's name is a prefix of another's, and so is a key.
func (p *suite) literally(t *testing.T) {
	for i, name := range [][2]string{{"a", "k"}, {"a", "k.k"}, {"ab", "k"}, {"a-b", "k"}, {"a", "state.k"}, {"a", "conflict.k"}} {
		p.write(t, name[0], name[1], events.StateSet, fmt.Sprint(i))
	}
	for i, name := range [][2]string{{"a", "k"}, {"a", "k.k"}, {"ab", "k"}, {"a-b", "k"}, {"a", "state.k"}, {"a", "conflict.k"}} {
		if e, found, _, err := p.Last(t.Context(), name[0], name[1]); err != nil || !found || string(e.Value) != fmt.Sprint(i) {
			t.Errorf("%v: %+v, %t, %v", name, e, found, err)
		}
	}
	if keys, err := p.Keys(t.Context(), "a", "", "", 10); err != nil || len(keys) != 4 {
		t.Errorf("keys of a: %q, %v", keys, err)
	}
}
