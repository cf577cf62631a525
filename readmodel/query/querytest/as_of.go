package querytest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

func (p *suite) asOfRevision(t *testing.T) {
	var rows []readmodel.Entry
	for i := range 6 {
		typ := events.StateSet
		if i == 3 {
			typ = events.StateDeleted
		}
		rows = append(rows, p.write(t, "a", "k", typ, fmt.Sprint(i)))
		p.write(t, "a", "other", events.StateSet, `0`)
		p.write(t, "a", "k", events.StateSuperseded, `99`)
	}
	end := rows[5].Revision + 10
	for revision := uint64(1); revision <= end; revision++ {
		var want *readmodel.Entry
		for i := range rows {
			if rows[i].Revision <= revision {
				want = &rows[i]
			}
		}
		e, found, err := p.AsOf(t.Context(), "a", "k", revision, time.Time{})
		exists := want != nil && want.Value != nil
		if err != nil || found != exists || found && !reflect.DeepEqual(e, *want) {
			t.Errorf("as of %d: %+v, %t, %v\nwant %+v", revision, e, found, err, want)
		}
	}
}

// asOfTime: an event counts by its recorded time, and of those recorded at or before the time the
// last one in the journal is the result. The offsets are relative to the time at which each event
// is stored: none, as an engine does it; far back, as an import does; and those of engines whose
// clocks differ.
func (p *suite) asOfTime(t *testing.T) {
	for name, offset := range map[string]func(i int) time.Duration{
		"recorded":  func(int) time.Duration { return -time.Microsecond },
		"imported":  func(i int) time.Duration { return -24*time.Hour + time.Duration(i)*time.Minute },
		"ahead":     func(i int) time.Duration { return time.Hour + time.Duration(i)*time.Minute },
		"two, skew": func(i int) time.Duration { return time.Duration(i%2*2-1) * 2 * time.Second },
	} {
		var rows []readmodel.Entry
		for i := range 14 {
			typ := events.StateSet
			if i%7 == 6 {
				typ = events.StateDeleted
			}
			p.recorded = time.Now().UTC().Add(offset(i))
			rows = append(rows, p.write(t, name[:3], "k", typ, fmt.Sprint(i)))
			p.write(t, "b", "k", events.StateSet, `99`)
		}
		moments := []time.Time{time.Unix(0, 0), time.Now().Add(48 * time.Hour)}
		for i := range rows {
			moments = append(moments, rows[i].UpdatedAt.Add(-1), rows[i].UpdatedAt, rows[i].UpdatedAt.Add(1))
		}
		for _, at := range moments {
			var want *readmodel.Entry
			for i := range rows {
				if !rows[i].UpdatedAt.After(at) {
					want = &rows[i]
				}
			}
			exists := want != nil && want.Value != nil
			e, found, err := p.AsOf(t.Context(), name[:3], "k", 0, at)
			if err != nil || found != exists || found && !reflect.DeepEqual(e, *want) {
				t.Errorf("%s, as of %s: %+v, %t, %v\nwant %+v", name, at, e, found, err, want)
			}
			many, err := p.EntriesAsOf(t.Context(), name[:3], []string{"k", "none"}, 0, at)
			if err != nil || len(many) > 0 != exists || exists && !reflect.DeepEqual(many, []readmodel.Entry{*want}) {
				t.Errorf("%s, entries as of %s: %+v, %v\nwant %+v", name, at, many, err, want)
			}
		}
	}
}

// entriesAsOf reads an agent at any revision in one call.
func (p *suite) entriesAsOf(t *testing.T) {
	want := map[uint64]map[string]string{0: {}}
	var keys []string
	state, last := map[string]string{}, uint64(0)
	for i := range 60 {
		key := fmt.Sprint("k", i*7%23)
		typ, value := events.StateSet, fmt.Sprint(i)
		if _, known := state[key]; !known && !slices.Contains(keys, key) {
			keys = append(keys, key)
		} else if i%5 == 0 {
			typ = events.StateDeleted
		}
		e := p.write(t, "a", key, typ, value)
		if state[key] = value; typ == events.StateDeleted {
			delete(state, key)
		}
		for ; last < e.Revision; last++ {
			want[last+1] = maps.Clone(want[last])
		}
		want[e.Revision] = maps.Clone(state)
	}
	slices.Sort(keys)
	want[last+9] = state
	for revision, state := range want {
		if revision == 0 {
			continue
		}
		rows, err := p.EntriesAsOf(t.Context(), "a", keys, revision, time.Time{})
		got := map[string]string{}
		for _, row := range rows {
			got[row.Key] = string(row.Value)
		}
		sorted := slices.IsSortedFunc(rows, func(a, b readmodel.Entry) int { return strings.Compare(a.Key, b.Key) })
		if err != nil || !sorted || !maps.Equal(got, state) {
			t.Errorf("at %d: %v, %v; want %v", revision, got, err, state)
		}
	}
}
