// Package tierstest is the conformance suite of durable tiers.
package tierstest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// Durable is the part of tiers.DurableTier that the suite tests.
type Durable interface {
	Entry(ctx context.Context, partition int, agent, key string) (e readmodel.Entry, found bool, position uint64, err error)
	Entries(ctx context.Context, partition int, agent, prefix, after string, limit int) ([]readmodel.Entry, uint64, error)
	Agents(ctx context.Context, list readmodel.AgentList) ([]readmodel.Agent, error)
}

// Entries tests state entries on a new, empty store; apply moves its view from one position to the
// next.
func Entries(t *testing.T, d Durable, apply func(t *testing.T, partition int, from, to uint64, rows ...readmodel.Entry)) {
	e, found, position, err := d.Entry(t.Context(), 0, "a", "k")
	if err != nil || found || position != 0 {
		t.Errorf("before the view began: %+v, %t at %d, %v", e, found, position, err)
	}
	var rows []readmodel.Entry
	keys := []string{"a", "a-", "a.a", "a.b", "a/", "a=", "aa", "b", "b.a", "B", "_", "0"}
	slices.Sort(keys)
	agents := []string{"x", "xx", "x-y", "X", "0", "_"}
	slices.Sort(agents)
	for _, agent := range agents {
		for _, key := range keys {
			rows = append(rows, readmodel.Entry{
				Agent: agent, Key: key, Value: []byte(`{ "v":1.50 }`), Timestamp: when, Writer: "w", Version: 3,
				Revision: uint64(len(rows) + 1), UpdatedAt: when.Truncate(1000), Digest: "d",
			})
		}
	}
	end := uint64(len(rows) + 5) // the view is ahead of its last row
	apply(t, 0, 0, end, rows...)
	for _, want := range rows {
		e, found, position, err := d.Entry(t.Context(), 0, want.Agent, want.Key)
		if err != nil || !found || position != end || !reflect.DeepEqual(e, want) {
			t.Errorf("%+v, %t at %d, %v\nwant %+v", e, found, position, err, want)
		}
	}
	if e, found, position, err := d.Entry(t.Context(), 0, "x", "none"); err != nil || found || position != end {
		t.Errorf("%+v, %t at %d, %v", e, found, position, err)
	}
	pages(t, d, keys, rows, end)
	listed(t, d, agents, len(keys))
}

// pages reads every prefix in pages of every size.
func pages(t *testing.T, d Durable, keys []string, rows []readmodel.Entry, end uint64) {
	t.Helper()
	for _, prefix := range []string{"", "a", "a.", "b", "zz", "%", "a_", "A"} {
		var want []string
		for _, k := range keys {
			if strings.HasPrefix(k, prefix) {
				want = append(want, k)
			}
		}
		for limit := 1; limit <= len(keys)+1; limit += 3 {
			var got []string
			for after := ""; ; {
				page, position, err := d.Entries(t.Context(), 0, "x", prefix, after, limit)
				if err != nil || position != end || len(page) > limit {
					t.Fatalf("%q after %q: %d rows at %d, %v", prefix, after, len(page), position, err)
				}
				for _, e := range page {
					got = append(got, e.Key)
					i := slices.IndexFunc(rows, func(r readmodel.Entry) bool { return r.Agent == "x" && r.Key == e.Key })
					if !reflect.DeepEqual(e, rows[i]) {
						t.Errorf("%+v\nwant %+v", e, rows[i])
					}
				}
				if len(page) < limit {
					break
				}
				after = got[len(got)-1]
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q in pages of %d: %q, want %q", prefix, limit, got, want)
			}
		}
	}
	if page, position, err := d.Entries(t.Context(), 0, "unknown", "", "", 10); err != nil || len(page) > 0 || position != end {
		t.Errorf("an unknown agent's: %d at %d, %v", len(page), position, err)
	}
}

// listed reads all agents in pages of every size.
func listed(t *testing.T, d Durable, agents []string, entries int) {
	t.Helper()
	for _, prefix := range []string{"", "x", "x-", "%", "y"} {
		var want []string
		for _, a := range agents {
			if strings.HasPrefix(a, prefix) {
				want = append(want, fmt.Sprint(a, " ", entries))
			}
		}
		for limit := 1; limit <= len(agents)+1; limit++ {
			var got []string
			for after := ""; ; {
				page, err := d.Agents(t.Context(), readmodel.AgentList{Prefix: prefix, After: after, Limit: limit})
				if err != nil || len(page) > limit {
					t.Fatalf("%q after %q: %d, %v", prefix, after, len(page), err)
				}
				for _, a := range page {
					got = append(got, fmt.Sprint(a.ID, " ", a.Entries))
					after = a.ID
				}
				if len(page) < limit {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q in pages of %d: %q, want %q", prefix, limit, got, want)
			}
		}
	}
	for pattern, want := range map[string]string{"x*": "x x-y xx", "x": "x", "*": "0 X _ x x-y xx", "_": "_", "%": "", "?": "", "*-*": "x-y"} {
		var got []string
		for after := ""; ; after = got[len(got)-1] { // one by one: a page is filled with what is visible
			page, err := d.Agents(t.Context(), readmodel.AgentList{Only: &readmodel.Visible{IDs: []string{pattern, "none"}}, After: after, Limit: 1})
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page[0].ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("the agents that match %q: %q, want %q", pattern, got, want)
		}
	}
}

var when = time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
