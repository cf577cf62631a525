package view_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
)

// TestEveryTransition takes each command in each status; the view is at version 5.
func TestEveryTransition(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mine, other := parse(t, `{"from":"state","columns":{"a":{"path":"/a","type":"text"}}}`), parse(t, `{"from":"task","columns":{"a":{"path":"/a","type":"text"}}}`)
	none, current, old := uint64(0), uint64(5), uint64(4)
	commands := []view.Command{
		{Definition: mine}, {Definition: other}, {Definition: mine, ExpectedVersion: &current}, {Definition: other, ExpectedVersion: &current},
		{Definition: mine, ExpectedVersion: &old}, {Definition: other, ExpectedVersion: &old}, {Definition: mine, ExpectedVersion: &none}, {Remove: true},
	}
	const same, exists, conflict, unknown = "unchanged", "view.exists", "state.conflict", "view.not_found"
	for name, row := range map[string]struct {
		state view.View
		want  [8]string // in the order of the commands: "<status> <from>", or the code of a refusal
	}{
		"never defined": {view.View{}, [8]string{"defined state", "defined task", conflict, conflict, conflict, conflict, "defined state", unknown}},
		"defined":       {view.View{Status: view.Defined, Definition: mine}, [8]string{same, exists, same, "defined task", conflict, conflict, conflict, "removed state"}},
		"removed": {view.View{Status: view.Removed, Definition: mine, DefinedAt: now, RemovedAt: now},
			[8]string{"defined state", "defined task", "defined state", "defined task", conflict, conflict, "defined state", same}},
	} {
		for i, c := range commands {
			c.ID = "v"
			meta := domain.Metadata{Now: now, Version: 5, Revision: 9, Actor: "alice"}
			if row.state.Status == "" {
				meta.Version = 0
			}
			d := view.Decide(row.state, c, meta)
			got := string(d.Outcome)
			switch {
			case d.Refusal != nil:
				got = d.Refusal.Code
				if d.Refusal.Kind != domain.Conflict && d.Refusal.Kind != domain.NotFound {
					t.Errorf("%s and %d: refused as %s", name, i, d.Refusal.Kind)
				}
				if d.Refusal.Kind == domain.Conflict && (d.Refusal.Details["version"] != meta.Version || d.Refusal.Details["revision"] != meta.Revision) {
					t.Errorf("%s and %d: %v", name, i, d.Refusal.Details)
				}
			case len(d.Events) > 0:
				after, err := domain.CarriedState[view.View](&d.Events[0])
				if err != nil || len(d.Events) != 1 {
					t.Fatal(err)
				}
				got = string(after.Status) + " " + after.Definition.From
				switch after.Status {
				case view.Defined:
					if d.Events[0].Type != events.ViewDefined || after.SetBy != "alice" || !after.DefinedAt.Equal(now) || !after.RemovedAt.IsZero() {
						t.Errorf("%s and %d: %+v", name, i, after)
					}
				case view.Removed:
					if d.Events[0].Type != events.ViewRemoved || !after.RemovedAt.Equal(now) || !after.Definition.Equal(mine) {
						t.Errorf("%s and %d: %+v", name, i, after)
					}
				}
			}
			if got != row.want[i] {
				t.Errorf("%s and %d: %s, want %s", name, i, got, row.want[i])
			}
		}
	}
}

func parse(t *testing.T, text string) view.Definition {
	t.Helper()
	d, err := view.Parse("v", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The details of each refusal have the JSON pointer of its cause.
func TestPlace(t *testing.T) {
	for body, want := range map[string]string{
		`{"columns":{}}`: "/from",
		`{"from":"x"}`:   "/from",
		`{"from":1}`:     "/from",
		`{"from":"state","columns":{"a~b/c":{"path":"/a","type":"text"}}}`:                            "/columns/a~0b~1c",
		`{"from":"state","columns":{"a":{"path":"/a"}}}`:                                              "/columns/a/type",
		`{"from":"state","columns":{"a":{"path":"/a","type":"text"}},"group":{"by":["a","b"]}}`:       "/group/by/1",
		`{"from":"state","columns":{"a":{"path":"/a","type":"text"}},"group":{"count":true,"avg":1}}`: "/group/avg",
		`{"from":"state","columns":{"a":{"path":"/a","type":"text"}},"into":["sql",2]}`:               "/into/1",
		`{"from":"state","columns":{"a":{"path":"/a","type":"text"}},"expected_version":1}`:           "/expected_version",
	} {
		_, err := view.Parse("v", []byte(body))
		var known *domain.Error
		if !errors.As(err, &known) || known.Kind != domain.Invalid || known.Details["place"] != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// The example of the wire contract.
func TestExample(t *testing.T) {
	d, expected, err := view.ParseDefine("orders", []byte(`{"name":"orders","from":"state","agents":"shop-*","keys":"order.*",
		"columns":{"total":{"type":"numeric","path":"/value/total"},"city":{"path":"/value/city","type":"text"}},
		"group":{"by":["city"],"count":true,"sum":["total"]},"into":["kv","sql"],"expected_version":3}`))
	const canonical = `{"name":"orders","from":"state","agents":"shop-*","keys":"order.*",` +
		`"columns":{"city":{"path":"/value/city","type":"text"},"total":{"path":"/value/total","type":"numeric"}},` +
		`"group":{"by":["city"],"count":true,"sum":["total"]},"into":["sql","kv"]}`
	if err != nil || *expected != 3 || string(d.Canonical()) != canonical {
		t.Fatalf("%s, %v", d.Canonical(), err)
	}
	if got := d.Output(); len(got) != 3 || got[0] != "city" || got[1] != "count" || got[2] != "sum_total" || d.Bucket() != "VIEW_orders" {
		t.Errorf("%v in %s", got, d.Bucket())
	}
	for _, c := range []struct {
		agent, key string
		want       bool
	}{
		{"shop-1", "order.1", true}, {"shop-", "order.a.b", true}, {"shop", "order.1", false}, {"shop-1", "order", false}, {"", "order.1", false},
	} {
		if d.Matches(c.agent, c.key) != c.want {
			t.Errorf("%s.%s: matches %t", c.agent, c.key, !c.want)
		}
	}
	all := view.Definition{}
	if !all.Matches("", "k") || !all.Matches("a", "") {
		t.Error("a definition without patterns leaves something out")
	}
}

// Minimal definitions, and names at their limits.
func TestAccepted(t *testing.T) {
	for _, body := range []string{
		`{"from":"claim","group":{"count":true}}`,
		`{"from":"claim","columns":{},"group":{"count":true}}`,
		`{"from":"config","columns":{"a":{"path":"","type":"jsonb"}},"group":{"by":["a"]}}`,
		`{"from":"session","columns":{"_":{"path":"/","type":"boolean"},"count":{"path":"/a//b/0","type":"timestamptz"}},"agents":null,"group":null,"into":null}`,
		`{"from":"task","columns":{"count":{"path":"/a","type":"text"}},"group":{"by":["count"]}}`,
		`{"from":"message","agents":"shop-*","columns":{"total":{"path":"/body/total","type":"numeric"}}}`,
		`{"from":"reminder","columns":{"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk":{"path":"/\u00e9","type":"text"}}}`,
	} {
		if _, err := view.Parse("v", []byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
	for name, want := range map[string]bool{
		"v": true, "0": true, "_-": true, "orders-by_city": true, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv": true,
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvw": false, "Orders": false, "": false, "a.b": false, "a$b": false, "é": false,
	} {
		if err := view.CheckName(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}
